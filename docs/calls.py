"""a running service → the calls in README.md, one for each task, with the answers it gave.

`python docs/calls.py` sends each task's example over HTTP with curl and rewrites the section.
"""

import json
import subprocess
from pathlib import Path

from service.http_body import binary_field
from service.tasks import Task, tasks

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- calls: written by make calls -->", "<!-- end of calls -->"
URL = "http://127.0.0.1:3000"
EXAMPLES = Path("service/examples")


def command(task: Task, **fields: object) -> list[str]:
    """curl with the task's example and further fields: JSON, or a form with the shipped file."""
    request = task.example().model_copy(update=fields)
    binary = binary_field(task)
    if binary is None:
        body = json.dumps(request.model_dump(mode="json", exclude_defaults=True))
        return ["curl", "-s", f"{URL}/{task.name}", "-H", "Content-Type: application/json",
                "-d", body]  # fmt: skip
    content = getattr(request, binary)
    file = next(path for path in sorted(EXAMPLES.iterdir()) if path.read_bytes() == content)
    more = (f"{name}={value if isinstance(value, str) else json.dumps(value)}"
            for name, value in fields.items())  # fmt: skip
    return ["curl", "-s", f"{URL}/{task.name}", "-F", f"{binary}=@{file}",
            *(word for pair in more for word in ("-F", pair))]  # fmt: skip


def shown(words: list[str]) -> str:
    """A command as one types it."""
    quoted = [f"'{word}'" if " " in word or '"' in word else word for word in words]
    return " ".join(quoted).replace(" -d ", " \\\n  -d ").replace(" -F ", " \\\n  -F ")


def section() -> str:
    """The commands and what the service answered."""
    parts = []
    for task in tasks():
        words = command(task)
        answer = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        readable = json.dumps(json.loads(answer), ensure_ascii=False)
        parts.append(f"**{task.name}**: {task.summary}\n```sh\n{shown(words)}\n```\n")
        parts.append(f"```json\n{readable}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(f"{head}{BEGIN}\n{section()}\n{END}{tail}", encoding="utf-8")
