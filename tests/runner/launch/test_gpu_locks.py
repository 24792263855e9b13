from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from casl.errors import SpecError
from casl.runner.job import Resources
from casl.runner.launch.gpu_locks import GpuLocks
from casl.runner.launch.local import Local
from tests.runner.stores import new_store

OTHER_USER = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that every user may write, as /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def ours(shared: Path) -> Path:
    return shared / f"casl-gpus-{os.getuid()}"


def test_a_gpu_is_given_to_one_run_at_a_time(shared: Path) -> None:
    first, second = GpuLocks(["0", "1"]), GpuLocks(["0", "1"])
    assert first.take(["0"]) and first.take(["0"])  # two stages of one run may share it
    assert not second.take(["1", "0"])
    assert first.take(["1"]), "what could not be taken whole was given back"
    first.give(["0"])
    assert not second.take(["0"])
    first.give(["0"])
    assert second.take(["0"])


def test_the_lock_of_a_dead_process_is_free(shared: Path) -> None:
    script = "import os, sys; from casl.runner.launch.gpu_locks import GpuLocks as L; assert L(['0']).take(['0'])"
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(shared)}, check=True)
    assert GpuLocks(["0"]).take(["0"])


def test_folder_and_locks_are_private_whatever_the_names_of_gpus_hold(shared: Path) -> None:
    GpuLocks(["MIG-1/2/3", "../../outside"])
    assert stat.S_IMODE(ours(shared).stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in ours(shared).iterdir()} == {0o600}
    assert sorted(p.name for p in shared.iterdir()) == [ours(shared).name]


def test_a_machine_without_gpus_needs_no_folder(shared: Path) -> None:
    GpuLocks([])
    assert not list(shared.iterdir())


def test_a_link_planted_for_the_folder_or_a_lock_is_not_followed(shared: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("private")
    victim.chmod(0o600)
    (shared / "casl-gpu-0.lock").symlink_to(victim)  # where locks once were
    GpuLocks(["0"])
    (ours(shared) / "1.lock").symlink_to(victim)
    with pytest.raises(SpecError, match=r"1\.lock: it is a link"):
        GpuLocks(["1"])
    elsewhere = tmp_path / "elsewhere"
    ours(shared).rename(elsewhere)
    ours(shared).symlink_to(elsewhere)
    with pytest.raises(SpecError, match="it is a link"):
        GpuLocks(["0"])
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("private", 0o600)


@needs_root
@pytest.mark.parametrize("planted", ["folder", "file"])
def test_what_another_user_made_is_named_and_left_alone(shared: Path, planted: str) -> None:
    path = ours(shared) if planted == "folder" else ours(shared) / "0.lock"
    ours(shared).mkdir(mode=0o700)
    path.mkdir(exist_ok=True) if planted == "folder" else path.write_text("")
    path.chmod(0o700)
    os.chown(path, OTHER_USER, OTHER_USER)
    with pytest.raises(SpecError, match="belongs to another user") as error:
        GpuLocks(["0"])
    assert str(path) in str(error.value) and "TMPDIR=" in str(error.value)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (OTHER_USER, 0o700)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_second_name(path: Path) -> None:
    (path.parent / "of.another").write_text("")
    os.link(path.parent / "of.another", path)


@pytest.mark.parametrize("plant", [a_pipe, a_folder, a_second_name])
def test_a_lock_that_is_no_plain_file_of_its_own_is_refused(shared: Path, plant: Callable[[Path], None]) -> None:
    ours(shared).mkdir(mode=0o700)
    plant(ours(shared) / "0.lock")
    with pytest.raises(SpecError, match=r"0\.lock: "):
        GpuLocks(["0"])


def test_a_folder_that_others_may_enter_is_refused(shared: Path) -> None:
    ours(shared).mkdir()
    ours(shared).chmod(0o777)
    with pytest.raises(SpecError, match="others may enter it"):
        GpuLocks(["0"])


def test_the_launcher_says_it_before_anything_runs(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    ours(shared).symlink_to(tmp_path)
    with pytest.raises(SpecError, match="cannot be locked"):
        Local(new_store(tmp_path), Resources())
