"""The pages that people read, and what can be typed in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EVERY = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        ROOT / "notebooks" / "README.md",
        ROOT / "reports" / "README.md",
    }
)
# made from the parser, where a test parses each example; and a record, whose commands are of their day
NOT_TYPED_FROM = {
    *(ROOT / "docs" / name for name in ("cli.md", "decisions.md", "predictions.md")),
    ROOT / "CHANGELOG.md",
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"(?:\.venv/bin/)?(?:casl|make) (?!->)")  # `casl -> torchvision: ...` is something that casl prints


def commands(page: Path) -> list[str]:
    """What the code blocks of a page say to type: `casl ...` and `make ...`, without comments and without .venv/bin."""
    found = []
    blocks = [block for language, block in BLOCK.findall(page.read_text()) if language in ("", "sh", "bash")]
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.partition(" #")[0].split("&&"):
                words = " ".join(part.split())
                if TYPED.match(words):
                    found.append(words.removeprefix(".venv/bin/"))
    return found


def every_command() -> dict[str, list[str]]:
    """Command -> names of the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in EVERY:
        for command in commands(page) if page not in NOT_TYPED_FROM else ():
            found.setdefault(command, []).append(str(page.relative_to(ROOT)))
    return found


def texts(path: Path) -> list[str]:
    """The strings in a module, parts of f-strings with "\\0" for what is put in."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = [str(p.value) if isinstance(p, ast.Constant) else "\0" for p in node.values]
            found.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return found
