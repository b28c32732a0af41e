"""README.md: the parts that are generated are what would be generated now."""

import runpy
from itertools import pairwise
from pathlib import Path

from service.tasks import tasks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_maps_of_the_tree_are_those_of_the_files() -> None:
    tree = runpy.run_path(str(ROOT / "docs" / "tree.py"))
    assert tree["with_tree"](README) == README, "run make readme"
    assert tree["whole"]() == tree["MAP"].read_text(encoding="utf-8"), "run make readme"


def test_every_task_has_the_call_that_would_be_written_now() -> None:
    calls = runpy.run_path(str(ROOT / "docs" / "calls.py"))
    missing = [
        each.name for each in tasks() if calls["shown"](calls["command"](each)) not in README
    ]
    assert not missing, "run make calls"


def test_make_targets_named_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    words = README.replace("`", " ").split()
    named = {after for before, after in pairwise(words) if before == "make"}
    targets = {line.partition(":")[0] for line in makefile.splitlines() if ":" in line}
    assert {"serve", "test"} <= named & targets
