"""the tree's files → the map in README.md: each file with the first line of its docstring.

`python docs/tree.py` rewrites the map; a test compares it with the tree.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- tree: written by make readme -->", "<!-- end of tree -->"
FOLDERS = ("models", "export", "service", "loadtests")


def summary(path: Path) -> str:
    """The first line of a file's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n\n")[0].replace("\n", " ")


def tree() -> str:
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
    """README's text with the map as it should be."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n```\n{tree()}\n```\n{END}{tail}"


if __name__ == "__main__":
    README.write_text(with_tree(README.read_text(encoding="utf-8")), encoding="utf-8")
