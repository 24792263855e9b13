"""The mirror in MLflow, against a real SQLite database read back through MLflow's own client."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from casl.errors import TrackingError
from casl.files import state_of
from casl.spec.run import Run, Use
from casl.tracking.draft import read_curves
from casl.tracking.mirror import Mirror
from casl.tracking.server import database, make_database, quiet_mlflow, ui_command
from casl.tracking.text import Sheet, describe
from tests.report.odd_names import ODD
from tests.tracking.shelf import EVALUATE, FINETUNE, LABELED, LABELER, PSEUDO, VAL, WARMUP, Shelf

ROOT = Path(__file__).resolve().parents[2]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000ffff03000006000557bfabd40000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database; making one takes seconds, copying none."""
    folder = tmp_path_factory.mktemp("mlflow")
    with quiet_mlflow():
        make_database(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")
    return folder / "mlflow.db"


@pytest.fixture
def store(tmp_path: Path, blank: Path) -> Shelf:
    """An empty store whose name needs quoting everywhere, with an empty database."""
    store = Shelf(tmp_path / "a user's store #1")
    shutil.copy(blank, store.root / "mlflow.db")
    return store


def client(mirror: Mirror) -> Any:
    from mlflow import MlflowClient

    with quiet_mlflow():
        return MlflowClient(mirror.uri)


def active(mirror: Mirror) -> list[Any]:
    found = client(mirror)
    return list(found.search_runs([e.experiment_id for e in found.search_experiments()]))


def test_each_ended_stage_becomes_one_run_and_only_once(store: Shelf) -> None:
    runs = [
        store.commit(LABELED),
        store.commit(LABELER),
        store.fail(PSEUDO, "disk full"),
        store.run(WARMUP.name),
    ]
    mirror, logged = Mirror(store.root), list[str]()
    assert mirror.sync(reversed(runs), {}, logged.append) == 3
    assert logged == [LABELED.name, LABELER.name, PSEUDO.name], "inputs come first, so that they can be linked"
    assert mirror.sync(runs, {}) == 0
    assert {r.data.tags["casl.name"]: r.info.status for r in active(mirror)} == {
        LABELED.name: "FINISHED",
        LABELER.name: "FINISHED",
        PSEUDO.name: "FAILED",
    }
    assert mirror.run_id(WARMUP.name) is None


def test_a_run_shows_fields_figures_curves_data_note_and_files(store: Shelf, tmp_path: Path) -> None:
    curve = b"iteration,loss,lr\n" + b"".join(b"%d,%.3f,\n" % (i, 9 - i / 1000) for i in range(2500))
    files = {
        "curves.csv": curve,
        "pictures/val 0.png": PNG,
        "log.txt": b"begun\nended\n",
        "weights.safetensors": b"x" * 3_000_000,
    }
    runs = [store.commit(VAL), store.commit(FINETUNE, files), store.commit(EVALUATE, metrics={"AP": 31.5})]
    mirror = Mirror(store.root, experiment="casl mini scenes")
    mirror.sync(runs, {EVALUATE.name: [Use("table4", "F 3x / W 5x"), Use("table6", "0.3")]})
    flow = client(mirror)

    tuned = flow.get_run(mirror.run_id(FINETUNE.name))
    assert flow.get_experiment(tuned.info.experiment_id).name == "casl mini scenes"
    assert (tuned.info.start_time, tuned.info.end_time) == (1767323045000, 1767323135000)
    params = {"model.detector": "fcos", "recipe.lr": "0.001", "init": WARMUP.name, "iters": "216"}
    assert params.items() <= tuned.data.params.items()
    points = flow.get_metric_history(tuned.info.run_id, "loss")
    assert [(p.step, p.value) for p in points] == [(i, pytest.approx(9 - i / 1000)) for i in range(2500)]
    assert "lr" not in tuned.data.metrics, "an empty place in the file is no value"
    tags = {"casl.key": FINETUNE.key, "casl.host": "box", "mlflow.source.git.commit": "c0ffee"}
    tags |= {"casl.version.torch": "2.15.0", "casl.data.labeled": LABELED.name}
    assert tags.items() <= tuned.data.tags.items()
    assert "weights.safetensors" in tuned.data.tags["mlflow.note.content"]
    assert {f.path for f in flow.list_artifacts(tuned.info.run_id)} == {
        "curves.csv",
        "log.txt",
        "pictures",
        "result.json",
    }
    picture = flow.download_artifacts(tuned.info.run_id, "pictures/val 0.png", str(tmp_path))
    assert Path(picture).read_bytes() == PNG

    measured = flow.get_run(mirror.run_id(EVALUATE.name))
    assert measured.data.metrics == {"ap_det/AP": 31.5}
    assert (measured.data.tags["table4"], measured.data.tags["table6"]) == ("F 3x / W 5x", "0.3")
    note = measured.data.tags["mlflow.note.content"]
    assert f"#/experiments/{tuned.info.experiment_id}/runs/{tuned.info.run_id}" in note
    assert str(store.root.resolve()) in note
    assert "| AP | 31.5 |" in note


class TestWhatWasJustSent:
    """A sync that need not be thorough looks at no run while all is as after the last one, and only then."""

    USES: ClassVar = {EVALUATE.name: [Use("table4", "F 3x / W 5x")]}

    @pytest.fixture
    def sent(self, store: Shelf) -> tuple[Mirror, list[Run]]:
        mirror, runs = Mirror(store.root), [store.commit(EVALUATE, metrics={"AP": 31.5})]
        mirror.sync(runs, self.USES)
        return mirror, runs

    @pytest.fixture(autouse=True)
    def looked_at(self, sent: object, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Names of the runs that were looked at since."""
        del sent
        names: list[str] = []

        def seen(run: Run, *rest: Any) -> Sheet:
            names.append(run.name)
            return describe(run, *rest)

        monkeypatch.setattr("casl.tracking.mirror.describe", seen)
        return names

    def test_the_same_again(self, sent: tuple[Mirror, list[Run]], looked_at: list[str]) -> None:
        mirror, runs = sent
        assert mirror.sync(runs, self.USES, thorough=False) == 0
        assert not looked_at
        assert mirror.sync(runs, self.USES) == 0
        assert looked_at == [EVALUATE.name], "`casl sync` looks at each"

    def test_another_result(self, store: Shelf, sent: tuple[Mirror, list[Run]]) -> None:
        mirror, runs = sent
        assert mirror.sync([*runs, store.commit(VAL)], self.USES, thorough=False) == 1
        again = [store.commit(EVALUATE, metrics={"AP": 32.5})]
        assert mirror.sync(again, self.USES, thorough=False) == 1

    @pytest.mark.parametrize("place", ["F 3x / W 6x", "F 1x / W 1x"])
    def test_another_place(self, sent: tuple[Mirror, list[Run]], place: str) -> None:
        mirror, runs = sent
        mirror.sync(runs, {EVALUATE.name: [Use("table4", place)]}, thorough=False)
        assert active(mirror)[0].data.tags["table4"] == place

    def test_the_order_of_places(self, sent: tuple[Mirror, list[Run]]) -> None:
        """A run is named after its first place."""
        mirror, runs = sent
        for order in ("a", "b"), ("b", "a"):
            mirror.sync(runs, {EVALUATE.name: [Use("table4", place) for place in order]}, thorough=False)
            assert active(mirror)[0].data.tags["cell"] == "; ".join(order)

    def test_memory_or_database_that_went(self, sent: tuple[Mirror, list[Run]], looked_at: list[str]) -> None:
        mirror, runs = sent
        next(mirror.index.glob("evaluate-*.json")).unlink()
        assert mirror.sync(runs, self.USES, thorough=False) == 1, "adopted"
        assert looked_at
        database(mirror.uri).unlink()
        assert mirror.sync(runs, self.USES, thorough=False) == 1, "built again"

    def test_a_file_that_goes_while_the_index_is_looked_at(self, tmp_path: Path) -> None:
        """Another process may be at work in the store."""
        there, gone = tmp_path / "a.json", tmp_path / "b.json"
        there.write_text("{}")
        gone.write_text("{}")
        before = state_of([there, gone])
        gone.unlink()
        assert state_of([there, gone]) not in (before, state_of([there]))

    def test_other_code(
        self, sent: tuple[Mirror, list[Run]], looked_at: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirror, runs = sent
        monkeypatch.setattr("casl.tracking.mirror.own_code", lambda: "of tomorrow")
        assert mirror.sync(runs, self.USES, thorough=False) == 0
        assert looked_at == [EVALUATE.name]


def test_a_run_is_named_after_its_cell_and_tagged_with_it(store: Shelf) -> None:
    runs = [store.commit(s) for s in (LABELED, WARMUP, FINETUNE)]
    runs.append(store.commit(EVALUATE, metrics={"AP": 31.46, "AP50": 50.0, "APl": -1.0}))
    cell, other = Use("table4", "F 3x / W 5x"), Use("table10", "FCOS / AP")
    uses = {FINETUNE.name: [cell], EVALUATE.name: [other, cell], WARMUP.name: [cell, Use("table4", "F 1x / W 5x")]}
    mirror = Mirror(store.root)
    mirror.sync(runs, uses)
    named = {r.data.tags["kind"]: r for r in active(mirror)}
    title = "F 3x / W 5x, AP 31.5 · evaluate ap_det · finetune 216 it ← warmup 360 it · seed 0"
    assert named["evaluate"].info.run_name == title
    assert named["finetune"].info.run_name.startswith("F 3x / W 5x · finetune 216 it")
    assert named["warmup"].info.run_name.startswith("warmup 360 it"), "of several cells, so of none"
    assert named["evaluate"].data.tags["cell"] == "F 3x / W 5x; FCOS / AP"
    assert named["evaluate"].data.metrics == {"ap_det/AP": 31.46, "ap_det/AP50": 50.0}, "no -1 among them"
    mirror.sync(runs, {EVALUATE.name: [Use("table4", "F 9x / W 9x")]})
    again = next(r for r in active(mirror) if r.data.tags["kind"] == "evaluate")
    assert again.info.run_id == named["evaluate"].info.run_id
    assert again.info.run_name.startswith("F 9x / W 9x, AP 31.5")


def test_evaluations_are_found_by_what_led_to_them(store: Shelf) -> None:
    short = replace(WARMUP, schedule=((120, 1.0),), threshold=0.5)
    other = replace(EVALUATE, model=replace(FINETUNE, init=short))
    mirror = Mirror(store.root)
    mirror.sync([store.commit(s, metrics={"AP": 1.0}) for s in (EVALUATE, other)], {})
    flow = client(mirror)
    places = [e.experiment_id for e in flow.search_experiments()]

    def found(where: str) -> set[str]:
        return {r.data.tags["casl.name"] for r in flow.search_runs(places, filter_string=where)}

    assert found("params.`warmup.iters` = '120' and tags.kind = 'evaluate'") == {other.name}
    assert found("params.`warmup.iters` = '360'") == {EVALUATE.name}
    assert found("params.delta = '0.5'") == {other.name}
    assert found(f"params.labeler = '{LABELER.name}'") == {EVALUATE.name, other.name}
    assert found(f"params.`finetune.init` = '{short.name}' and params.`finetune.iters` = '216'") == {other.name}
    assert found("params.`warmup.recipe.lr` = '0.001' and params.`labeler.labels` = 'entities'") == {
        EVALUATE.name,
        other.name,
    }


def test_a_failed_run_says_why_in_its_note(store: Shelf) -> None:
    mirror = Mirror(store.root)
    mirror.sync([store.fail(WARMUP, "loss is nan at iteration 7\n  log: somewhere")], {})
    assert "loss is nan at iteration 7" in active(mirror)[0].data.tags["mlflow.note.content"]


def test_a_new_table_changes_tags_of_the_same_run_and_keeps_other_tables(store: Shelf) -> None:
    runs, mirror = [store.commit(VAL)], Mirror(store.root)
    mirror.sync(runs, {VAL.name: [Use("table4", "F 1x / W 1x")]})
    first = mirror.run_id(VAL.name)
    assert mirror.sync(runs, {VAL.name: [Use("table3", "1x"), Use("table3", "2x")]}) == 0
    assert mirror.sync(runs, {}) == 0
    (run,) = active(mirror)
    assert run.info.run_id == first
    assert (run.data.tags["table4"], run.data.tags["table3"]) == ("F 1x / W 1x", "1x; 2x")
    assert "table3: 1x; 2x" in run.data.tags["mlflow.note.content"]


def test_a_failed_stage_that_is_done_later_has_one_finished_run(store: Shelf) -> None:
    mirror = Mirror(store.root)
    mirror.sync([store.fail(WARMUP, "out of memory")], {WARMUP.name: [Use("table4", "a")]})
    assert mirror.sync([store.commit(WARMUP)], {}) == 1
    (run,) = active(mirror)
    assert (run.info.status, run.data.tags["table4"]) == ("FINISHED", "a")
    assert "out of memory" not in run.data.tags["mlflow.note.content"]


def test_a_crash_before_the_index_leaves_no_second_run(store: Shelf) -> None:
    runs, mirror = [store.commit(VAL)], Mirror(store.root)
    mirror.sync(runs, {})
    first = mirror.run_id(VAL.name)
    shutil.rmtree(store.root / "mlflow")
    mirror.sync(runs, {VAL.name: [Use("table4", "late")]})
    assert [(r.info.run_id, r.data.tags["table4"]) for r in active(mirror)] == [(first, "late")]


def test_a_half_made_run_is_replaced(store: Shelf) -> None:
    runs, mirror = [store.commit(VAL), store.commit(LABELED)], Mirror(store.root)
    mirror.sync(runs[:1], {})
    whole = active(mirror)[0]
    tags = {**whole.data.tags, "casl.name": LABELED.name}
    half = client(mirror).create_run(whole.info.experiment_id, tags=tags).info.run_id
    mirror.sync(runs, {})
    assert half not in {r.info.run_id for r in active(mirror)}
    assert sorted(r.data.tags["casl.name"] for r in active(mirror)) == sorted([VAL.name, LABELED.name])


def test_a_run_deleted_in_mlflow_or_with_its_database_is_logged_again(store: Shelf) -> None:
    runs, mirror = [store.commit(VAL)], Mirror(store.root)
    mirror.sync(runs, {})
    client(mirror).delete_run(mirror.run_id(VAL.name))
    assert mirror.sync(runs, {VAL.name: [Use("table4", "a")]}) == 1
    database(mirror.uri).unlink()
    assert mirror.run_id(VAL.name) is None
    ui_command(store.root, None, 5000)  # makes an empty one
    assert mirror.sync(runs, {}) == 1
    assert len(active(mirror)) == 1


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_results_wait_while_the_server_is_away_and_arrive_later(store: Shelf) -> None:
    runs, before, start = [store.commit(VAL), store.commit(LABELED)], dict(os.environ), time.monotonic()
    with pytest.raises(TrackingError, match=r"(?s)nothing is lost.*store.*casl sync"):
        Mirror(store.root, f"http://127.0.0.1:{closed_port()}").sync(runs, {})
    assert time.monotonic() - start < 15
    assert dict(os.environ) == before
    assert Mirror(store.root).sync(runs, {}) == 2


def test_a_database_held_by_another_process_is_reported_in_seconds(store: Shelf) -> None:
    runs, mirror, start = [store.commit(VAL)], Mirror(store.root), time.monotonic()
    other = sqlite3.connect(store.root / "mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrackingError, match="locked"):
        mirror.sync(runs, {})
    assert time.monotonic() - start < 15
    other.close()
    assert mirror.sync(runs, {}) == 1


@pytest.mark.parametrize("damage", ["text", "pages", "cut"])
def test_a_damaged_database_is_named_with_what_to_remove(store: Shelf, damage: str) -> None:
    path, runs = store.root / "mlflow.db", [store.commit(VAL)]
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"not a database " * 9, "pages": whole[:4096] + b"\xff" * (len(whole) - 4096), "cut": whole[:9000]}[
            damage
        ]
    )
    with pytest.raises(TrackingError, match=r"mlflow\.db, is damaged.*\n  remove that file, and `casl sync`"):
        Mirror(store.root).sync(runs, {})
    path.unlink()
    assert Mirror(store.root).sync(runs, {}) == 1


@pytest.mark.parametrize("name", ["script", "input", "lines", "controls", "backwards", "long"])
def test_names_that_are_markup_reach_mlflow_as_they_are(store: Shelf, name: str) -> None:
    mirror = Mirror(store.root, experiment=f"casl {ODD[name]}")
    assert mirror.sync([store.commit(VAL)], {VAL.name: [Use(ODD[name], ODD[name])]}) == 1
    names = [e.name for e in client(mirror).search_experiments()]
    assert [n for n in names if n != "Default"] == [f"casl {ODD[name]}"]
    assert len(active(mirror)) == 1


SYNC = """
import sys
from pathlib import Path
from casl.tracking.mirror import Mirror
from casl.tracking.text import Sheet, describe
from tests.report.odd_names import ODD
from tests.tracking.shelf import VAL, Shelf
store = Shelf(Path(sys.argv[1]))
print(Mirror(store.root, sys.argv[2]).sync([store.commit(VAL)], {}))
"""


def test_processes_that_start_at_once_share_one_new_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    roots = [tmp_path / name for name in "ab"]
    started = [
        subprocess.Popen([sys.executable, "-c", SYNC, str(r), uri], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for r in roots
    ]
    assert [p.communicate(timeout=120)[0] for p in started] == ["1\n", "1\n"]
    assert len(active(Mirror(roots[0], uri))) == 2


def test_half_a_last_line_of_a_killed_stage_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("iteration,loss,lr\n0,1.5,0.1\n1,nan,0.1\n2,1.2")
    points, damage = read_curves(path)
    assert points == [("loss", 1.5, 0), ("lr", 0.1, 0), ("lr", 0.1, 1)]
    assert "line 4" in damage


def test_bytes_that_are_no_text_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_bytes(b"iteration,loss\n0,1.5\n1,\xff\xfe\n")
    assert read_curves(path) == ([("loss", 1.5, 0)], "curves.csv is damaged from line 3 on")


def test_a_damaged_curve_does_not_stop_the_sync(store: Shelf) -> None:
    mirror = Mirror(store.root)
    assert mirror.sync([store.commit(LABELER, {"curves.csv": b"iteration,loss\n0,2.0\n1,abc\n"})], {}) == 1
    (run,) = active(mirror)
    assert run.data.metrics == {"loss": 2.0}
    assert "line 3" in run.data.tags["casl.damage"]


def test_tracking_is_imported_without_mlflow_or_torch() -> None:
    code = "import sys, casl.tracking.mirror; print(sorted({'mlflow', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_server_elsewhere_is_not_started_again(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="http://flow:5000"):
        ui_command(tmp_path, "http://flow:5000", 5000)


@pytest.fixture
def server(store: Shelf) -> Iterator[tuple[Shelf, str]]:
    """MLflow's pages over a store, until the test ends."""
    port = closed_port()
    command, variables = ui_command(store.root, None, port)
    process = subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
    try:
        _await(f"http://127.0.0.1:{port}/health")
        yield store, f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _await(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=2).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(address)


@pytest.mark.slow
def test_the_pages_serve_pictures_and_accept_runs_over_http(server: tuple[Shelf, str]) -> None:
    store, address = server
    mirror = Mirror(store.root, experiment="on disk")
    mirror.sync([store.commit(VAL, {"pictures/a.png": PNG})], {})
    path = f"{address}/get-artifact?path=pictures/a.png&run_uuid={mirror.run_id(VAL.name)}"
    with urllib.request.urlopen(path, timeout=10) as answer:
        assert answer.read() == PNG

    remote = Mirror(store.root, f"{address}/", experiment="over http")
    assert remote.sync([store.commit(LABELER, {"pictures/b.png": PNG, "curves.csv": b"iteration,loss\n0,1.0\n"})], {})
    run = client(remote).get_run(remote.run_id(LABELER.name))
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})
    assert [f.path for f in client(remote).list_artifacts(run.info.run_id, "pictures")] == ["pictures/b.png"]
