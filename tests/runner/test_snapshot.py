from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from casl.runner.provenance import read_code
from casl.runner.snapshot import environment, take
from casl.runner.source import PACKAGES, ROOT, source_of
from casl.spec import Scenes


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *author, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of its own with the packages, one commit, nothing changed."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = tmp_path / "checkout"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "README.md").write_text("a repository\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def asked(code: Path, script: str, cwd: Path) -> str:
    """What a Python process on a snapshot prints, started inside the checkout that must not be used."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(code, os.environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_process_on_a_snapshot_runs_its_code_and_knows_its_commit(tmp_path: Path, checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    code = take(tmp_path / "store", checkout)
    (checkout / "casl" / "errors.py").write_text("raise SystemExit('the working tree was imported')\n")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    script = (
        "import json, casl.errors, ablations.table4; from casl.runner.provenance import provenance\n"
        "from casl.runner.source import source_of; from casl.spec import Scenes\n"
        "digest = source_of(Scenes('val', 1, 64)).digest\n"
        "print(json.dumps([casl.errors.__file__, ablations.table4.__file__, provenance(), digest]))"
    )
    casl, ablations, provenance, source = json.loads(asked(code, script, checkout))
    assert source == source_of(Scenes("val", 1, 64)).digest  # of the tree that the checkout is a copy of
    assert Path(casl).is_relative_to(code) and Path(ablations).is_relative_to(code)
    assert (provenance["commit"], provenance["dirty"]) == (commit, False)


def test_a_module_started_inside_the_checkout_comes_from_the_snapshot(tmp_path: Path, checkout: Path) -> None:
    code = take(tmp_path / "store", checkout)
    (checkout / "casl" / "__main__.py").write_text("raise SystemExit('the working tree was imported')\n")
    command = [sys.executable, "-m", "casl", "--help"]
    around = environment(code, os.environ)
    done = subprocess.run(command, env=around, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_changes_and_new_files_are_part_of_the_record_and_apply_as_a_patch(tmp_path: Path, checkout: Path) -> None:
    with (checkout / "casl" / "errors.py").open("a") as file:
        file.write("# a change\n")
    (checkout / "casl" / "fresh.py").write_text("VALUE = 1")
    state = read_code(checkout)
    code = take(tmp_path / "store", checkout)
    record = json.loads((code / "provenance.json").read_text())
    diff = (code / "changes.diff").read_text()
    assert (record["dirty"], record["diff"]) == (True, hashlib.sha256(diff.encode()).hexdigest())
    assert state.digest == record["diff"]

    clean = tmp_path / "clean"
    git(tmp_path, "clone", "-q", str(checkout), str(clean))
    (tmp_path / "p.diff").write_text(diff)
    git(clean, "apply", str(tmp_path / "p.diff"))
    for name in ("errors.py", "fresh.py"):
        assert (clean / "casl" / name).read_bytes() == (checkout / "casl" / name).read_bytes()


def test_a_change_outside_the_packages_does_not_make_the_code_dirty(checkout: Path) -> None:
    (checkout / "README.md").write_text("changed\n")
    assert read_code(checkout).diff == ""


def test_one_content_is_kept_once_and_a_snapshot_of_a_snapshot_is_itself(tmp_path: Path, checkout: Path) -> None:
    store = tmp_path / "store"
    first = take(store, checkout)
    assert take(store, checkout) == first
    assert take(store, first) == first
    (checkout / "casl" / "errors.py").write_text("")
    assert take(store, checkout) != first
    assert len([p for p in (store / "code").iterdir() if not p.name.startswith(".")]) == 2


def test_a_snapshot_that_lost_a_file_is_made_again(tmp_path: Path, checkout: Path) -> None:
    code = take(tmp_path / "store", checkout)
    (code / "casl" / "errors.py").write_text("")
    assert take(tmp_path / "store", checkout) == code
    assert (code / "casl" / "errors.py").read_bytes() == (checkout / "casl" / "errors.py").read_bytes()


def _take(store: Path, root: Path) -> str:
    return str(take(store, root))


def test_many_processes_may_take_the_same_snapshot_at_once(tmp_path: Path, checkout: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        taken = pool.starmap(_take, [(tmp_path / "store", checkout)] * 12)
    assert len(set(taken)) == 1
    assert [p.name for p in (tmp_path / "store" / "code").iterdir()] == [Path(taken[0]).name]


def test_code_without_git_has_no_commit(tmp_path: Path, checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    record = json.loads((take(tmp_path / "store", checkout) / "provenance.json").read_text())
    assert record == {"commit": "", "dirty": False, "diff": ""}
