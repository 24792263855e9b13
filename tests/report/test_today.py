"""What of a folder of reports is older than the code, and what a table's own page says then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.report.setting import Setting
from casl.report.table import Table, build_table
from casl.report.table_page import to_html, to_markdown
from casl.report.today import NOT_KNOWN, Today, of_folder
from casl.spec.described import described
from casl.spec.kinds import PseudoLabel
from casl.spec.stage import ancestors
from casl.spec.varied import varied
from tests.golden.studies import on_disk
from tests.report.sample import done, stage_of
from tests.runner.stores import NANO

TABLE4 = catalog.load("ablation", "table4")
TODAY = Today(NANO)


def measured(length: int) -> Table:
    """Table 4 with every number, in a profile with so many iterations of 1x."""
    profile = replace(NANO, iters_1x=length)
    cells = TABLE4.build(profile)
    return build_table(TABLE4, profile, [cells], {r.name: r for r in (done(stage_of(c), AP=1.0) for c in cells)}, {})


NOW, OLD = measured(NANO.iters_1x), measured(NANO.iters_1x + 1)


def test_a_table_is_older_where_today_other_stages_give_its_numbers() -> None:
    assert (TODAY.is_older(NOW), TODAY.is_older(OLD)) == (False, True)
    assert not TODAY.is_older(replace(OLD, name="of_others")) and not NOT_KNOWN.is_older(OLD)


def test_an_older_table_says_so_on_its_page_and_names_the_commit_instead_of_a_command_that_refuses() -> None:
    old = Setting(today=TODAY)
    for page in (to_markdown(OLD, setting=old), to_html(OLD, b"", setting=old)):
        assert "OLDER THAN THE CODE. Today other stages would be trained for this table" in page
        assert "git checkout c0ffee" in page and "table4.json" not in page.partition("Again")[2].partition("Picture")[0]
    now = to_markdown(NOW, setting=old)
    assert "OLDER" not in now and "casl reproduce reports/" in now


def test_an_older_table_without_a_commit_says_that_it_is_not_recorded() -> None:
    """As of a run where git was not there."""
    cells = tuple(replace(c, repetitions=tuple(replace(r, commit="") for r in c.repetitions)) for c in OLD.cells)
    page = to_markdown(replace(OLD, cells=cells), setting=Setting(today=TODAY))
    assert "Their commit is not recorded" in page and "git checkout" not in page


def test_of_data_that_are_not_here_it_is_said_that_nothing_is_compared() -> None:
    elsewhere = replace(NOW, profile="mini", data="bccd")
    today = of_folder(Path("none"), [elsewhere])
    words = (
        "NOT COMPARED WITH THE CODE OF TODAY: the data set bccd is not here, and no data.json beside the tables "
        "describes it. Numbers are those of commit c0ffee"
    )
    assert today.over([elsewhere], Path("none")) == today.of_table(elsewhere) == words
    assert "casl reproduce" in to_markdown(elsewhere, setting=Setting(today=today)), "it says itself whether it can"


def test_the_profile_of_a_folder_is_made_again_from_what_its_tables_record() -> None:
    mini, profile = replace(NOW, profile="mini", data="scenes"), catalog.load("profile", "mini")
    assert of_folder(Path("mini"), [mini]) == Today(profile)
    rule_b = replace(mini, options=(("rule", "B"),))
    assert of_folder(Path("mini-ruleB"), [rule_b]) == Today(profile.with_rule("B"))
    assert of_folder(Path("mini"), [mini, rule_b]).why == "mini has tables of 2 profiles or data sets"
    cells = replace(mini, options=(("set", "warmup.threshold=0.4"),))
    assert of_folder(Path("mini"), [cells]).why.startswith("profile mini cannot be made again from --set warmup")


def test_of_a_set_on_disk_that_a_folder_of_reports_describes_the_code_of_today_is_known(tmp_path: Path) -> None:
    data = on_disk("own")
    profile = catalog.load("profile", "smoke").with_data(data).with_size(48)
    cells = tuple(cell for cell in TABLE4.build(profile) if cell.stage)
    table = build_table(TABLE4, profile, [cells], {r.name: r for r in (done(stage_of(c), AP=1.0) for c in cells)}, {})
    assert "data.json" in of_folder(tmp_path, [table]).why
    (tmp_path / "data.json").write_text(json.dumps(described(data)))
    today = of_folder(tmp_path, [table])
    assert today.profile == profile and not today.is_older(table)
    assert today.over([table], tmp_path) == ""
    longer = build_table(TABLE4, profile.with_iters_1x(99), [TABLE4.build(profile.with_iters_1x(99))], {}, {})
    assert not of_folder(tmp_path, [longer]).is_older(longer), "nothing of it is measured"
    assert today.is_older(replace(table, cells=OLD.cells))
    (tmp_path / "data.json").write_text(json.dumps({**described(data), "splits": {"labeled objects": "e25b"}}))
    assert of_folder(tmp_path, [table]).why.endswith("data.json does not describe it: its splits are not described")
    (tmp_path / "data.json").write_text(json.dumps({**described(data), "data": "others"}))
    assert of_folder(tmp_path, [table]).why.endswith("data.json describes others")
    (tmp_path / "data.json").write_text("{")
    assert "data.json" in of_folder(tmp_path, [table]).why


def test_quality_of_labels_is_of_today_where_a_table_beside_it_asks_for_them() -> None:
    smoke = catalog.load("profile", "smoke")
    today, lookalikes = Today(smoke), catalog.load("ablation", "confusable").build(smoke)
    ends = [c.stage for c in lookalikes if c.stage]
    names = {s.name: None for end in ends for s in ancestors(end) if isinstance(s, PseudoLabel)}
    record = {"labels": [{"labeler": "x", "stages": [name]} for name in names]}
    assert today.is_older_quality(record)
    assert not today.is_older_quality(record, ["confusable", "of_others"])
    assert today.is_older_quality({"labels": [{"labeler": "x", "stages": ["pseudolabel-0"]}]}, ["confusable"])


def search(value: float, **stages: str) -> dict[str, Any]:
    trial = {"value": value, "stages": {f"{role}, seed 0": name for role, name in stages.items()}}
    cell = "table4: F 1x / W 1x"
    return {"cell": cell, "data": "scenes", "seeds": 1, "target": "warmup.threshold", "trials": [trial]}


def test_a_search_is_older_where_its_cell_has_other_stages_with_that_value() -> None:
    cell = next(c for c in TABLE4.build(NANO) if (c.row, c.column) == ("F 1x", "W 1x"))
    final = varied(cell, "warmup.threshold", 0.45).evaluation.name
    assert not TODAY.is_older_search(search(0.45, final=final))
    assert TODAY.is_older_search(search(0.40, final=final))
    assert TODAY.is_older_search(search(0.45, final=final, labels="pseudolabel-0"))
    assert TODAY.is_older_search(search(0.45, final=final) | {"cell": "table4: F 9x / W 1x"}), "the cell is gone"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ({"search-delta": search(0.4, final="evaluate-0")}, "OLDER THAN THE CODE: table4, search-delta. Today other"),
        ({"labels": {"labels": [{"labeler": "x"}]}}, "NOT COMPARED WITH THE CODE OF TODAY: labels, which does not"),
    ],
)
def test_pages_over_a_folder_name_searches_and_labels(tmp_path: Path, records: Mapping[str, Any], said: str) -> None:
    for name, record in records.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    assert said in TODAY.over([OLD, NOW], tmp_path)
    assert TODAY.over([NOW], tmp_path.parent / "none") == ""
