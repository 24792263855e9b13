"""Every link between pages leads somewhere, headings included. Nothing is asked of the network."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import EVERY, ROOT

LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"[a-z]+:")  # https:, mailto:


def slug(heading: str) -> str:
    """The anchor of a heading, by GitHub's rule: small letters, no punctuation, blanks become hyphens."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text()), re.MULTILINE):
        name = slug(heading)
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return frozenset(names)


def broken(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere, each with the reason."""
    wrong = []
    for target in LINK.findall(CODE.sub("", text)):
        place, _, anchor = target.partition("#")
        if OUTSIDE.match(target):
            continue
        file = (page.parent / place).resolve() if place else page
        if not file.is_relative_to(ROOT) or not file.exists():
            wrong.append(f"{target}: no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            wrong.append(f"{target}: no such heading in {file.name}")
    return wrong


@pytest.mark.parametrize("page", EVERY, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text())


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("[a](nowhere.md)", "no such file"),
        ("[a](README.md#nowhere)", "no such heading"),
        ("![a](docs/img/none.svg)", "no such file"),
        ("[a](../outside.md)", "no such file"),
        ("[`a`](docs/cli.md#casl-rnu)", "no such heading"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(link: str, why: str) -> None:
    assert [x for x in broken(ROOT / "README.md", link) if why in x]


def test_a_link_that_leads_somewhere_or_is_code_is_none() -> None:
    text = "[a](docs/cli.md#casl-run) [b](#two-commands) [c](https://example.org/x) `[d](nowhere)`\n```\n[e](no)\n```\n"
    assert not broken(ROOT / "README.md", text)


def test_the_list_of_pages_has_every_page_once() -> None:
    listed = re.findall(r"^- \[[^]]+\]\(([^)]+)\)", (ROOT / "docs" / "README.md").read_text(), re.MULTILINE)
    found = [(ROOT / "docs" / place).resolve() for place in listed]
    assert sorted(found) == sorted(set(EVERY) - {ROOT / "docs" / "README.md"})
