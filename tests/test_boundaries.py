"""Imports go one way: serving knows nothing of torch, and nothing of training, export and load."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"service", "models", "export", "loadtests", "tests"}
ALLOWED = {
    "service": {"service"},
    "models": {"models", "service"},
    "models/__main__.py": {
        "models",
        "export.__main__",
        "export.agreement",
        "export.imported",
        "export.published",
        "service",
    },
    "export": {"export", "models", "service"},
    "loadtests/peers": {"loadtests.peers", "export", "models", "service"},
    "loadtests/serving/peers": {"loadtests.serving.peers", "loadtests.peers", "service"},
    "loadtests/serving/doors": {"loadtests.serving.doors", "service"},
    "deploy": {"deploy", "service"},
    "loadtests/batch": {"loadtests", "service"},
    "loadtests/system.py": {"loadtests", "models.systems", "service"},
    "loadtests": {
        "loadtests",
        "service.compat.oip.pb",
        "service.errors",
        "service.pb",
        "service.rpc",
        "service.schema",
        "service.settings",
        "service.tasks",
    },
}
"""Folder or file → what of ours it may import, but for what is listed below a folder."""


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def folder_of(path: Path) -> str:
    """The innermost listed folder that a file is in, or the file itself if it is listed."""
    inside = path.relative_to(ROOT).as_posix()
    return max((name for name in ALLOWED if f"{inside}/".startswith(f"{name}/")), key=len)


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    whole = ROOT / folder
    files = [whole] if whole.is_file() else sorted(whole.rglob("*.py"))
    files = [path for path in files if folder_of(path) == folder]
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in sorted(imports_of(path))
        if name.partition(".")[0] in OURS
        and not any(name == of or name.startswith(f"{of}.") for of in ALLOWED[folder])
    ]
    assert not wrong, "\n".join(wrong)


def test_serving_imports_neither_torch_nor_onnx_in_any_file() -> None:
    heavy = {"torch", "onnx", "onnxscript", "onnx_ir", "matplotlib", "locust"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / "service").rglob("*.py"))
        for name in imports_of(path)
        if name.partition(".")[0] in heavy
    ]
    assert not wrong, "\n".join(wrong)


def loaded_by(code: str) -> set[str]:
    """The top modules in memory after a fresh interpreter has run the code."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_a_server_in_memory_holds_no_torch_and_none_of_our_other_folders() -> None:
    loaded = loaded_by(
        "import service.http, service.engine, service.rpc, service.setup, service.store\n"
        "from service.tasks import tasks\n"
        "assert tasks()"
    )
    assert "onnxruntime" in loaded
    assert not loaded & {"torch", "onnx", "onnxscript", "models", "export", "loadtests"}


def test_training_holds_no_export_in_memory() -> None:
    loaded = loaded_by("import models.train\nfrom models.catalogue import recipes\nrecipes()")
    assert "torch" in loaded
    assert not loaded & {"onnx", "onnxscript", "export", "loadtests"}


def test_a_worker_of_the_race_starts_where_there_is_numpy_and_nothing_else() -> None:
    loaded = loaded_by(
        "import loadtests.peers.worker\nfrom loadtests.peers.engines import peers\nassert peers()"
    )
    foreign = {"torch", "onnxruntime", "service", "models", "export", "pydantic", "typer", "rich"}
    assert not loaded & foreign
