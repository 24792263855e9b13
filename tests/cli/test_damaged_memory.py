"""What commands remember of a data set on disk, replaced by something else: work done again, or a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from casl.cli import main
from casl.runner.store import Store
from tests.outside.folder import TABLE, write

CUT = "the first half of what is there"
SHAPES = {"null": "null", "list": "[]", "object": "{}", "number": "7", "text": '"text"', "nothing": "", "cut": CUT}
SHAPES |= {"deep": "[" * 100_000 + "]" * 100_000, "other": '{"a": 1}', "nested": '{"a": {}}'}
SPARED = ("store/digests.json", "store/checked.json", "reports/smoke-coins/data.json")  # made again in silence
STUDY = ["./mine.py", "--profile", "smoke", "--data", "coins", "--store", "store"]
VERBS = (["plan", *STUDY], ["report", *STUDY, "--reports", "reports"])


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a small set was planned with and reported on."""
    folder = write(tmp_path_factory.mktemp("planned"), {"mine.py": TABLE})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        counts = ["--labeled", "3", "--unlabeled", "3", "--val", "2"]
        assert main(["data", "scenes", "coins", *counts]) == 0
        Store(Path("store"))
        assert [main(verb) for verb in VERBS] == [0, 1]  # nothing is measured
    return folder


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("file", [*SPARED, "store/sets.json"])
def test_a_damaged_memory_costs_work_or_is_named(
    planned: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    shape: str,
) -> None:
    shutil.copytree(planned, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    path, whole = tmp_path / file, (tmp_path / file).read_text()
    path.write_text(whole[: len(whole) // 2] if SHAPES[shape] == CUT else SHAPES[shape])
    codes = [main(verb) for verb in VERBS]
    if file in SPARED or shape == "object":  # an empty list of sets is legal
        assert codes == [0, 1]
        assert "reports" not in file or path.read_text() == whole
    else:
        assert codes == [2, 2]
        assert "sets.json is damaged" in (said := capsys.readouterr().err) and "remove the file" in said
