"""README.md: the parts that are generated are what would be generated now."""

import runpy
from itertools import pairwise
from pathlib import Path

from service.tasks import tasks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_map_of_the_tree_is_that_of_the_files() -> None:
    expected = runpy.run_path(str(ROOT / "docs" / "tree.py"))["with_tree"](README)
    assert expected == README, "run make readme"


def test_every_task_has_a_call() -> None:
    missing = [task.name for task in tasks() if f"127.0.0.1:3000/{task.name}" not in README]
    assert not missing


def test_make_targets_named_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = README.replace("`", " ").split()
    named = {after for before, after in pairwise(words) if before == "make"}
    targets = {line.partition(":")[0] for line in makefile.splitlines() if ":" in line}
    assert {"serve", "test"} <= named & targets
