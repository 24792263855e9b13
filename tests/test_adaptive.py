"""Adaptive labeling in profile smoke, as a user runs it: `casl run adaptive --profile smoke`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.smoke import shared_store, tables_of

ONE = ("70% of stage 3", "warmup AP^e")


@pytest.mark.slow
@pytest.mark.parametrize(("part", "skipped"), [(("--cell", *ONE), 1), pytest.param((), 3, marks=pytest.mark.long)])
def test_every_labeler_and_its_target_are_measured(
    part: tuple[str, ...], skipped: int, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = shared_store(tmp_path_factory)
    table = tables_of(["adaptive"], store, tmp_path, *part)["adaptive"]
    done = {(cell["row"], cell["column"]) for cell in table["cells"] if cell["status"] == "done"}
    assert ONE in done and len(done) <= len(table["cells"]) == 14
    if not part:
        assert len(done) == 14
    skipping = [p for p in (store / "stages").glob("labeler-*") if "watched_usage" in (p / "curves.csv").read_text()]
    assert len(skipping) >= skipped
