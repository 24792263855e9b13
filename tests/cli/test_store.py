from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from casl import catalog
from casl.cli import main
from casl.runner.gc import remember_roots
from casl.runner.plan import Plan, make_plan
from casl.runner.store import Store
from casl.spec import Labeler, Warmup
from tests.runner.finished import commit, edited, finish, other_code
from tests.runner.stores import scenes

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table 4 of profile smoke, finished in a second an iteration."""
    store = Store(tmp_path_factory.mktemp("finished") / "store")
    finish(plan_of(store), store, lambda node: float(node.iters or 1))
    remember_roots(store, "table4 smoke", plan_of(store))
    return store.root


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Store:
    """A copy of it that a test may change."""
    return Store(shutil.copytree(template, tmp_path / "store"))


def plan_of(store: Store) -> Plan:
    profile, table = catalog.load("profile", "smoke"), catalog.load("ablation", "table4")
    return make_plan({"table4": table.build(profile)}, store, {"table4": table.unit}, profile.epochs)


def first(store: Store, kind: str) -> str:
    return next(n for n in plan_of(store).nodes if n.startswith(kind))


def test_ls_lists_what_is_asked_for_in_the_order_asked_for(called: Called, store: Store) -> None:
    commit(store, scenes(9), seconds=99.0, started="2027-01-01T00:00:00+00:00")
    store.fail(scenes(8), "loss is nan")
    where = ("--store", store.root, "--json")
    rows = json.loads(called("store", "ls", *where)[1])
    assert len(rows) == len(store.names()) + 1
    assert [r["name"] for r in rows] == sorted(r["name"] for r in rows)
    assert [r["status"] for r in rows if r["name"] == scenes(8).name] == ["failed"]
    labelers = json.loads(called("store", "ls", "--kind", "labeler", "--status", "done", *where)[1])
    assert {r["kind"] for r in labelers} == {"labeler"}
    assert ["table4"] in [r["tables"] for r in labelers]  # the others are beginnings
    assert json.loads(called("store", "ls", "--sort", "when", *where)[1])[-1]["name"] == scenes(9).name
    by_size = [r["size"] for r in json.loads(called("store", "ls", "--sort", "size", *where)[1])]
    assert by_size == sorted(by_size) and by_size[-1] > 0


def test_ls_prints_a_line_for_each_stage(called: Called, store: Store) -> None:
    code, out, _ = called("store", "ls", "--kind", "evaluate", "--store", store.root)
    assert code == 0 and out.count("\nevaluate-") == 25 and "25 stages" in out and "table4" in out
    assert out.split()[:7] == ["stage", "status", "time", "size", "begun", "commit", "tables"]


def test_explain_says_where_a_stage_stands(called: Called, store: Store) -> None:
    name = first(store, "warmup")
    asked = ("store", "explain", name.partition("-")[2][:8], "--store", store.root, "--profile", "smoke", "--json")
    code, out, _ = called(*asked, "--tables", "table4")
    facts: dict[str, Any] = json.loads(out)
    assert (code, facts["name"], facts["status"], facts["tables"]) == (0, name, "done", ["table4"])
    assert [n.partition("-")[0] for n in facts["inputs"]] == ["pseudolabel", "pretrain"]
    assert facts["inputs"][0] == first(store, "pseudolabel")
    assert facts["fields"]["recipe.lr"] == 1e-3 and "data.labeler.seed" in facts["fields"]
    assert any(u.startswith("finetune") for u in facts["users"])
    assert facts["again"] == ["it would not run: table4 of profile smoke asks for it and it is done"]
    assert facts["made"]["version"] == Warmup.VERSION and len(facts["made"]["source"]) == 64


def test_explain_names_the_field_in_which_the_tables_ask_for_another(called: Called, store: Store) -> None:
    plan = plan_of(store)
    labeler = plan.nodes[first(store, "labeler")].stage
    assert isinstance(labeler, Labeler)
    old = replace(labeler, seed=5)
    commit(store, old)
    where = ("--store", store.root, "--profile", "smoke", "--tables", "table4")
    out = called("store", "explain", old.name, *where)[1]
    assert "seed: 5 -> 0" in out and "instead" in out


def test_explain_names_the_version_that_changed(called: Called, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = first(store, "finetune")
    monkeypatch.setattr("casl.spec.kinds.Labeler.VERSION", 3)
    out = called("store", "explain", name, "--store", store.root, "--profile", "smoke", "--tables", "table4")[1]
    assert "VERSION of labeler: 2 -> 3" in out and "it would run, as finetune-" in out


def test_explain_says_that_code_moved(called: Called, store: Store) -> None:
    name = first(store, "evaluate")
    digest = other_code(store, plan_of(store).nodes[name].stage, "casl/metrics/ap.py")
    edited(store, name, lambda record: record.update(source=digest))
    out = called("store", "explain", name, "--store", store.root, "--profile", "smoke", "--tables", "table4")[1]
    assert "code moved since: casl/metrics/ap.py" in out


def test_an_unknown_or_ambiguous_key_is_explained(called: Called, store: Store) -> None:
    name = first(store, "labeler")
    code, _, err = called("store", "explain", name[:-3] + "zzz", "--store", store.root)
    assert code == 2 and f"did you mean {name}" in err
    code, _, err = called("store", "explain", "finetune", "--store", store.root)
    assert code == 2 and "give more of the name" in err


def test_verify_names_damage_and_moves_it_only_when_asked(called: Called, store: Store) -> None:
    name = first(store, "finetune")
    (store.folder(name) / "file.bin").write_bytes(b"x" * len(name))
    code, out, _ = called("store", "verify", "--store", store.root)
    assert code == 1 and f"{name}: " in out and "1 damaged" in out and store.is_done(name)
    code, out, _ = called("store", "verify", "--quarantine", "--json", "--store", store.root)
    assert code == 1 and list(json.loads(out)["damaged"]) == [name] and not store.is_done(name)
    assert called("store", "verify", "--store", store.root)[0] == 0


def test_a_truncated_record_is_damage_too(called: Called, store: Store) -> None:
    name = first(store, "finetune")
    (store.folder(name) / "result.json").write_text('{"key": ')
    code, out, _ = called("store", "verify", "--json", "--store", store.root)
    assert code == 1 and list(json.loads(out)["damaged"]) == [name]


def test_gc_removes_only_with_yes(called: Called, store: Store) -> None:
    commit(store, scenes(9))
    for arguments in ((), ("--dry-run",)):
        code, out, _ = called("store", "gc", *arguments, "--store", store.root)
        assert code == 0 and scenes(9).name in out and "would be freed" in out and store.is_done(scenes(9).name)
    code, out, _ = called("store", "gc", "--yes", "--json", "--store", store.root)
    assert [g["name"] for g in json.loads(out)["garbage"]] == [scenes(9).name]
    assert not store.is_done(scenes(9).name) and plan_of(store).todo == []


def test_gc_keeps_nothing_for_a_study_that_is_to_be_forgotten(called: Called, store: Store) -> None:
    profile, table = catalog.load("profile", "smoke"), catalog.load("ablation", "table3")
    remember_roots(store, "other", plan := make_plan({"table3": table.build(profile)}, store))
    own = next(n for n, node in plan.nodes.items() if n.startswith("evaluate") and not store.is_done(n))
    commit(store, plan.nodes[own].stage)
    code, out, _ = called("store", "gc", "--store", store.root)
    assert code == 0 and own not in out and "kept for the studies other, table4 smoke" in out
    forget = ("store", "gc", "--forget", "other", "--store", store.root)
    for arguments, kept in (((), True), (("--yes",), False)):
        code, out, _ = called(*forget, *arguments)
        assert code == 0 and own in out and store.is_done(own) == kept and "kept for the studies table4 smoke" in out
    code, _, said = called(*forget)
    assert code == 2 and "unknown study 'other'; known: table4 smoke" in said


def test_results_move_to_another_store(called: Called, store: Store, tmp_path: Path) -> None:
    name, tar, other = first(store, "evaluate"), tmp_path / "a.tar", tmp_path / "other"
    assert called("store", "export", name[:14], "-o", tar, "--store", store.root)[0] == 0
    code, out, _ = called("store", "import", tar, "--json", "--store", other)
    assert code == 0 and name in json.loads(out)["added"] and Store(other).is_done(name)
    code, out, _ = called("store", "import", tar, "--store", other)
    assert code == 0 and out.startswith("0 stages added")
    assert called("store", "import", tmp_path / "nowhere.tar", "--store", other)[0] == 2


def test_an_export_of_one_cell_holds_what_led_to_it_and_nothing_else(
    called: Called, store: Store, tmp_path: Path
) -> None:
    cell = catalog.load("ablation", "table4").build(catalog.load("profile", "smoke"))[0]
    tar = tmp_path / "cell.tar"
    where = ("--store", store.root, "-o", tar, "--json")
    study = ("store", "export", "--tables", "table4", "--profile", "smoke")
    inside = json.loads(called(*study, "--cell", cell.row, cell.column, *where)[1])["stages"]
    assert cell.stage and inside[-1] == cell.stage.name and sum(n.startswith("evaluate") for n in inside) == 1
    assert len(inside) < len(json.loads(called(*study, *where)[1])["stages"])
    code, _, said = called("store", "export", inside[-1], "--only-seed", "0", *where)
    assert code == 2 and "--cell, --row and --only-seed choose from --tables" in said


def test_an_export_replaces_an_archive_and_nothing_else(called: Called, store: Store, tmp_path: Path) -> None:
    name, tar, thesis = first(store, "evaluate"), tmp_path / "a.tar", tmp_path / "thesis.tar"
    export = ("store", "export", name, "--store", store.root, "-o")
    assert [called(*export, tar)[0] for _ in range(2)] == [0, 0]
    for content in (b"years of work", b""):
        thesis.write_bytes(content)
        code, _, said = called(*export, thesis)
        assert code == 2 and "is there and is no archive" in said and thesis.read_bytes() == content
    (tmp_path / "link.tar").symlink_to(tar)
    os.mkfifo(tmp_path / "pipe.tar")
    for other, is_what in (("link.tar", "is a link to"), ("pipe.tar", "is no file but a pipe or a device")):
        code, _, said = called(*export, tmp_path / other)
        assert code == 2 and is_what in said
    for folder in (tmp_path, f"{tmp_path}/new/"):
        code, _, said = called(*export, folder)
        assert code == 2 and "-o names a file" in said and not (tmp_path / "new").exists()


def smoke(*more: object) -> tuple[object, ...]:
    return ("plan", "table4", "--profile", "smoke", *more)


def test_plan_gives_reasons_only_when_asked(called: Called, tmp_path: Path) -> None:
    where = ("--store", tmp_path / "new")
    brief, long = called(*smoke(*where))[1], called(*smoke("--why", *where))[1]
    assert "never run" not in brief and long.count("never run") > 80


def test_plan_estimates_from_what_ran_and_says_where_it_cannot(called: Called, store: Store, tmp_path: Path) -> None:
    more = ("--seeds", "2", "--store", store.root, "--json")
    values = json.loads(called(*smoke("--jobs", "2", *more))[1])
    iterations = values["to_run"]["iterations"]
    assert values["estimate"]["basis"] == {"measured": values["to_run"]["stages"]}
    assert values["estimate"]["device_hours"] * 3600 == pytest.approx(iterations, rel=0.2)  # a second an iteration
    out = called("plan", "table4", "--profile", "paper", "--store", tmp_path / "new")[1]
    assert "no rate was measured" in out and "--probe" in out
    out = called("plan", "table4", "--profile", "paper", "--rate", "10", "--jobs", "1", "--store", tmp_path / "new")[1]
    assert "device-hours" in out
    assert float(out.partition(" device-hours")[0].rpartition(" ")[2]) == pytest.approx(4_230_000 / 10 / 3600, rel=0.05)


def test_plan_warns_of_moved_code_and_shows_what_running_it_again_means(called: Called, store: Store) -> None:
    stage = plan_of(store).nodes[name := first(store, "pseudolabel")].stage
    digest = other_code(store, stage, "casl/data/pseudo.py")
    edited(store, name, lambda record: record.update(source=digest))
    _, out, err = called(*smoke("--store", store.root))
    assert "1 result made by another version of the code (1 pseudolabel): casl/data/pseudo.py; `--rerun" in err
    assert "to run       0 stages" in out
    values = json.loads(called(*smoke("--store", store.root, "--rerun-moved", "--json"))[1])
    kinds = {s["kind"] for s in values["stages_to_run"]}
    assert kinds == {"pseudolabel", "warmup", "finetune", "evaluate"}
    why = {s["name"]: s["why"] for s in values["stages_to_run"]}
    assert why[name] == "code moved: casl/data/pseudo.py"
    assert store.is_done(name)


def test_moved_results_of_many_kinds_are_one_warning(called: Called, store: Store) -> None:
    for kind, path in (("pseudolabel", "casl/data/pseudo.py"), ("evaluate", "casl/data/coco.py")):
        for name in [name for name in plan_of(store).nodes if name.startswith(kind)]:
            digest = other_code(store, plan_of(store).nodes[name].stage, path)
            edited(store, name, lambda record, digest=digest: record.update(source=digest))  # type: ignore[misc]
    err = called(*smoke("--store", store.root))[2]
    assert err.count("another version of the code") == 1
    assert " evaluate, 1 pseudolabel): casl/data/coco.py, casl/data/pseudo.py; `--rerun-moved`" in err


def test_plan_says_once_that_older_results_have_no_source(called: Called, store: Store) -> None:
    for name in store.names()[:3]:
        edited(store, name, lambda record: record.pop("source"))
    _, out, err = called(*smoke("--store", store.root))
    assert out.count("before sources were recorded") == 1 and "another version" not in err


def test_why_names_the_version_that_changed(called: Called, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casl.spec.kinds.PseudoLabel.VERSION", 3)
    out = called(*smoke("--why", "--store", store.root))[1]
    lines = [line for line in out.splitlines() if line.startswith("  warmup-")]
    assert lines and all("VERSION of pseudolabel: 2 -> 3" in line for line in lines if "share" not in line)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("num.tr", ["num.tr is not there", "archives in that folder: num.tar", "did you mean", "num.tar'?"]),
        ("", ["is a folder, and an archive is a file", "archives in that folder: num.tar"]),
        ("nowhere/num.tar", ["is not there", "archives in that folder: none"]),
    ],
)
def test_an_archive_that_is_not_there_is_pointed_at(
    called: Called, tmp_path: Path, named: str, said: list[str]
) -> None:
    (tmp_path / "num.tar").touch()
    code, _, err = called("store", "import", tmp_path / named, "--store", tmp_path / "store")
    assert code == 2 and all(part in err for part in said)
    assert not (tmp_path / "store").exists()
