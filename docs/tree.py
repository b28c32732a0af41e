"""the tree's files → the maps: folders in README.md, every file in docs/tree.md.

`python docs/tree.py` rewrites both; a test compares them with the tree. A line is the first one of
a docstring.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
README, MAP = ROOT / "README.md", ROOT / "docs" / "tree.md"
BEGIN, END = "<!-- tree: written by make readme -->", "<!-- end of tree -->"
FOLDERS = ("models", "export", "service", "loadtests")
HEAD = """# Every file

Written by `make readme`: each file with the first line of its docstring.
"""


def summary(path: Path) -> str:
    """The first line of a file's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")


def packages() -> str:
    """The folders of the product."""
    inits = (path for name in FOLDERS for path in sorted((ROOT / name).rglob("__init__.py")))
    return "\n".join(f"{path.parent.relative_to(ROOT)!s:32} {summary(path)}" for path in inits)


def files() -> str:
    """All files of the product, in the order of their paths."""
    lines = []
    for folder in FOLDERS:
        lines.append(f"{folder}/  {summary(ROOT / folder / '__init__.py')}")
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "__init__.py" and not path.stem.startswith("attendant_pb2"):
                name = str(path.relative_to(ROOT / folder))
                lines.append(f"  {name:36} {summary(path)}")
    return "\n".join(lines)


def with_tree(text: str) -> str:
    """README's text with the map of folders as it should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```\n{packages()}\n```\n{END}{tail}"


def whole() -> str:
    """The text of docs/tree.md."""
    return f"{HEAD}\n```\n{files()}\n```\n"


if __name__ == "__main__":
    README.write_text(with_tree(README.read_text(encoding="utf-8")), encoding="utf-8")
    MAP.write_text(whole(), encoding="utf-8")
