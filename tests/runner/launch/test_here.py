"""The launchers of one machine, `local` and `inline`: what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from casl.catalog import load
from casl.errors import SpecError
from casl.runner.job import Resources
from casl.runner.store import Store


@pytest.mark.parametrize("launcher", ["local", "inline"])
@pytest.mark.parametrize("option", ["slurm.partition", "ray.address", "local.jobs", "partition", ""])
def test_an_option_that_nothing_would_heed_is_refused(tmp_path: Path, launcher: str, option: str) -> None:
    kind: Any = load("launcher", launcher)
    with pytest.raises(SpecError, match=rf"unknown option '{re.escape(option)}'; known: none.\n.*{launcher!r}"):
        kind(Store(tmp_path), Resources(options={option: "gpu"}))
