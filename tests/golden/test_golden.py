"""Keys of all stages, and bytes of all reports, as stores and people have them.

A test that fails here says that a change moved a number or a report. See `studies.py` for how records are made anew,
and when that is right.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.studies import KEYS, PROFILES, REPORTS, keys, report_bytes, write_reports


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, dict[str, str]]]:
    return keys()


@pytest.mark.parametrize("profile", PROFILES)
def test_no_key_of_any_table_has_moved(profile: str, found: dict[str, dict[str, dict[str, str]]]) -> None:
    """For every provider and kind of data: which study, table and kind of stage moved is in the difference."""
    golden = {s: tables for s, tables in json.loads(KEYS.read_text()).items() if s.split()[0] == profile}
    now = {s: tables for s, tables in found.items() if s.split()[0] == profile}
    moved = [
        f"{study}, {table}: {kind}"
        for study in golden.keys() | now.keys()
        for table in golden.get(study, {}).keys() | now.get(study, {}).keys()
        for kind in golden[study][table].keys() | now[study][table].keys()
        if golden[study][table].get(kind) != now[study][table].get(kind)
    ]
    assert not moved, sorted(moved)[:20]


def test_no_byte_of_any_report_has_moved(tmp_path: Path) -> None:
    golden, now = json.loads(REPORTS.read_text()), report_bytes(write_reports(tmp_path))
    assert sorted(now) == sorted(golden)
    assert [name for name in golden if now[name] != golden[name]] == []
