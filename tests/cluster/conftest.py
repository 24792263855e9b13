"""What the suites of all launchers compare with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import smoke


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str, float]]:
    """Table 4 as launcher `local` computes it."""
    store: Path = tmp_path_factory.mktemp("local") / "store"
    done = smoke.run(store)
    assert done.returncode == 0, done.stdout + done.stderr
    return smoke.values(store)
