"""Whether photographs may be shown to everyone, from what annotation files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from casl.data.layout import SplitFiles
from casl.errors import SpecError
from casl.stages.licence import Terms, check_stated, terms

BY = {"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"}
SHARED = {"id": 5, "name": "CC-BY-SA-4.0"}
CLOSED = {"id": 2, "name": "Attribution-NonCommercial License", "url": "http://creativecommons.org/licenses/by-nc/2.0/"}
NO_CHANGES = {"id": 6, "name": "x", "url": "http://creativecommons.org/licenses/by-nd/2.0/"}


def said(tmp_path: Path, licences: Any, *numbers: int | None, stated: str = "") -> Terms:
    names = [f"{n}.jpg" for n in range(len(numbers))]
    images = [{"file_name": name, **({"license": x} if x else {})} for name, x in zip(names, numbers, strict=True)]
    content = {"images": images, **({} if licences is None else {"licenses": licences})}
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps(content))
    return terms(SplitFiles("val", tmp_path, instances=path), "objects", names, stated)


def test_every_image_needs_a_licence_that_lets_everyone_pass_it_on(tmp_path: Path) -> None:
    assert said(tmp_path, [BY, SHARED, CLOSED], 4, 5) == Terms(
        credit=("Attribution License http://creativecommons.org/licenses/by/2.0/", "CC-BY-SA-4.0")
    )


@pytest.mark.parametrize(
    ("licences", "numbers", "reason"),
    [
        (None, [None], "instances_val.json names no licence"),
        ([], [None], "instances_val.json names no licence"),
        ("CC-BY-4.0", [None], "instances_val.json names no licence"),
        ([BY, SHARED], [4, None], "names no licence of 1.jpg"),
        ([BY, SHARED], [9], "names no licence of 0.jpg"),
        ([BY, CLOSED], [4, 2], "the licence of 1.jpg does not let everyone pass it on: Attribution-NonCommercial"),
        ([BY, NO_CHANGES], [6], "does not let everyone pass it on"),
        ([{"id": 1, "name": "research only"}], [None], "does not let everyone pass it on: research only"),
    ],
)
def test_what_is_not_known_to_be_open_is_closed(
    tmp_path: Path, licences: Any, numbers: list[int | None], reason: str
) -> None:
    assert reason in said(tmp_path, licences, *numbers).closed


@pytest.mark.parametrize("name", ["MIT", "CC0-1.0", "Apache-2.0", "CC-BY-4.0"])
def test_one_licence_in_the_list_stands_for_all_images(tmp_path: Path, name: str) -> None:
    assert said(tmp_path, [{"id": 1, "name": name}], None, None) == Terms(credit=(name,))


@pytest.mark.parametrize(
    "licence", ["", "MIT", "MIT https://example.org/LICENSE", "CC-BY-SA-4.0", "CC0-1.0, by the museum"]
)
def test_what_a_user_states_holds_where_a_file_names_no_licence(tmp_path: Path, licence: str) -> None:
    check_stated(licence)
    found = said(tmp_path, None, None, stated=licence)
    assert found == (Terms(credit=(licence,)) if licence else Terms("instances_val.json names no licence"))
    assert said(tmp_path, [CLOSED], None, stated=licence).closed, "what the file says holds"
    assert said(tmp_path, [BY, SHARED], None, stated=licence).closed


@pytest.mark.parametrize(
    "licence",
    ["mine", "research only", "CC-BY-NC-4.0", "MIT NC", "https://creativecommons.org/licenses/by-nd/4.0/", "not MIT"],
)
def test_a_stated_licence_has_to_let_everyone_pass_photographs_on(licence: str) -> None:
    with pytest.raises(SpecError, match="none that is known to let everyone pass photographs on"):
        check_stated(licence)
