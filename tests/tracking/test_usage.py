"""What a stage cost its machine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from casl.tracking.draft import read_curves
from casl.tracking.text import describe
from casl.tracking.usage import usage
from tests.tracking.shelf import VAL, Shelf


def test_a_busy_block_shows_its_memory_and_processor(tmp_path: Path) -> None:
    with usage(tmp_path / "system.csv", every_s=0.05) as used:
        end, held = time.monotonic() + 0.4, bytearray(150_000_000)
        while time.monotonic() < end:
            held[0] += 1 if held[0] < 200 else -200
    summary = used.summary()
    assert summary["peak_system_memory_usage_megabytes"] > 150
    assert summary["mean_cpu_utilization_percentage"] > 1
    points, damage = read_curves(tmp_path / "system.csv")
    assert damage == ""
    assert {name for name, _, _ in points} >= {"cpu_utilization_percentage", "system_memory_usage_megabytes"}
    assert len({step for _, _, step in points}) == len(used.samples) > 1


def test_a_block_that_fails_leaves_its_samples_and_its_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="device lost"), usage(tmp_path / "system.csv"):
        raise RuntimeError("device lost")
    assert len(read_curves(tmp_path / "system.csv")[0]) >= 2


def test_a_folder_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    with usage(tmp_path / "gone" / "system.csv") as used:
        pass
    assert used.summary()


def test_the_cost_becomes_system_metrics_of_the_run(tmp_path: Path) -> None:
    run = Shelf(tmp_path).commit(VAL, facts={"images": 5, "system": {"peak_system_memory_usage_megabytes": 12.5}})
    assert describe(run, VAL, {}, {}).metrics == {"system/peak_system_memory_usage_megabytes": 12.5}
