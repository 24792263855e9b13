"""Rows of the catalog that other packages offer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import main
from casl.cli.doctor_checks import offers
from casl.errors import SpecError
from casl.runner.source import source_of
from casl.runner.store import Store
from casl.spec import Evaluate, ancestors, freeze
from tests.outside.folder import TABLE, casl, package, write

ROWS = """
from dataclasses import replace

from casl.catalog import DETECTORS
from casl.rows import Metric

ROWS = {
    "ablation": {"mine": "my_pkg.table:ABLATION"},
    "augmentation": {"plain": "my_pkg.plain:plain"},
    "detector": {"mine_fcos": replace(DETECTORS["fcos"], build="my_pkg.detector:build")},
    "metric": {"ap_mine": Metric("my_pkg.measure:ap_mine", headline="AP50")},
    "profile": {"tiny": "my_pkg.table:TINY"},
}
"""
TABLES = """
from dataclasses import replace

from ablations.profiles import SMOKE

TINY = replace(SMOKE, name="tiny", title="smaller")
"""
DETECTOR = """
from casl.models.detector import Builder
from casl.models.fcos import FCOS, FCOSSettings
from my_pkg.parts.say import SAID


def make(backbone, num_classes, settings):
    print(SAID)
    return FCOS(backbone, num_classes, settings)


build = Builder(FCOSSettings, make)
"""
MEASURE = """
from casl.metrics.ap import ap_det


def ap_mine(truth, results):
    return ap_det(truth, results)
"""
FILES = {
    "table.py": TABLE.replace('"ap_det"', '"ap_mine"')
    .replace("schedule=1)", 'schedule=1, detector="mine_fcos")')
    .replace("(1, 2)", "(0, 1)")
    .replace("warmup(profile, schedule=n)", "warmup(profile, schedule=n) if n else None")
    + TABLES,
    "detector.py": DETECTOR,
    "parts/say.py": 'SAID = "built by my_pkg"\n',
    "unused.py": "",
    "measure.py": MEASURE,
    "plain.py": "from casl.data.augment import weak\n\nplain = weak\n",
}
Offering = Callable[..., Path]


@pytest.fixture
def offering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offering]:
    """Puts packages on the path of this process, as folders without pip."""

    def offer(*arguments: object, **more: object) -> Path:
        folder = package(tmp_path / f"site{len(sys.path)}", *arguments, **more)  # type: ignore[arg-type]
        monkeypatch.syspath_prepend(str(folder))
        for cached in (catalog.offered, freeze.kinds, freeze.types):
            cached.cache_clear()
        return folder

    yield offer
    for cached in (catalog.offered, freeze.kinds, freeze.types):
        cached.cache_clear()
    for name in [n for n in sys.modules if n.partition(".")[0] in ("my_pkg", "her_pkg")]:
        del sys.modules[name]


def evaluation() -> Evaluate:
    """The first cell of the package's table."""
    cell = catalog.load("ablation", "mine").build(catalog.load("profile", "tiny"))[0]
    return cell.evaluation  # type: ignore[no-any-return]


def test_rows_of_a_package_stand_behind_the_built_in_ones(offering: Offering) -> None:
    built_in = {kind: [*catalog.names(kind)] for kind in catalog.CATALOGS}
    offering(ROWS, FILES)
    found = {kind: [*catalog.names(kind)] for kind in catalog.CATALOGS}
    added = {kind: names[len(built_in[kind]) :] for kind, names in found.items() if names != built_in[kind]}
    assert added == {
        "ablation": ["mine"],
        "augmentation": ["plain"],
        "detector": ["mine_fcos"],
        "metric": ["ap_mine"],
        "profile": ["tiny"],
    }
    assert all(names[: len(built_in[kind])] == built_in[kind] for kind, names in found.items())
    assert (evaluation().metric, evaluation().model.model.detector) == ("ap_mine", "mine_fcos")
    assert catalog.load("profile", "tiny").title == "smaller"
    with pytest.raises(SpecError, match=r"unknown detector 'mine_fco'; known: .*mine_fcos(?s:.*)did you mean 'mine_fc"):
        catalog.row("detector", "mine_fco")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ('{"detector": {"fcos": DETECTORS["fcos"]}}', r"detector 'fcos' is offered by my_pkg 1\.0 .* one of casl"),
        ('{"detektor": {}}', r"package my_pkg 1\.0: unknown kind of row 'detektor'(?s:.*)did you mean 'detector'"),
        (
            '{"detector": {"mine": "my_pkg.d:build"}}',
            r"my_pkg 1\.0: detector 'mine' is of type str, .*Detector",
        ),
        ('{"augmentation": {"mine": 3}}', r"my_pkg 1\.0: augmentation 'mine' is of type int, .* a place, 'module:attr"),
        ('{"augmentation": {"mine": "my_pkg.a"}}', r"my_pkg 1\.0: augmentation 'mine' has the place 'my_pkg.a'"),
        ('{"augmentation": {"a b": "my_pkg:a"}}', r"my_pkg 1\.0: augmentation 'a b' is no legal name"),
        ('["fcos"]', r"package my_pkg 1\.0: 'my_pkg.casl_rows:ROWS' is no dict of dicts"),
        ("nothing", r"package my_pkg 1\.0: its rows 'my_pkg.casl_rows:ROWS' cannot be imported: NameError"),
    ],
)
def test_a_package_with_unsound_rows_stops_every_plan(offering: Offering, rows: str, said: str) -> None:
    offering(f"from casl.catalog import DETECTORS\n\nROWS = {rows}\n")
    with pytest.raises(SpecError, match=said):
        catalog.names("ablation")


@pytest.mark.parametrize(
    ("name", "place", "said"),
    [
        ("both", "my_pkg.spec:Both", ""),
        ("other", "my_pkg.spec:Both", "stage kind 'other' must be named as its class my_pkg.spec:Both: 'both'"),
        ("plain", "my_pkg.spec:Plain", "'plain': my_pkg.spec:Plain is no class that extends casl.spec.stage.Stage"),
    ],
)
def test_a_stage_kind_of_a_package_is_one_of_the_kinds(offering: Offering, name: str, place: str, said: str) -> None:
    classes = "from casl.spec import Finetune\n\n\nclass Both(Finetune):\n    pass\n\n\nclass Plain:\n    pass\n"
    rows = f'from casl.rows import Kind\n\nROWS = {{"stage": {{"{name}": Kind("{place}", "my_pkg.run:run")}}}}\n'
    offering(rows, {"spec.py": classes})
    if said:
        with pytest.raises(SpecError, match=re.escape(said)):
            freeze.kinds()
    else:
        assert [*freeze.kinds()][-1] == "both" and freeze.kind_named("both") is freeze.types()["Both"]
        assert freeze.trainings_for_people().endswith("a joint or a both")


def test_two_packages_with_one_name_are_both_named(offering: Offering, capsys: pytest.CaptureFixture[str]) -> None:
    rows = 'ROWS = {"augmentation": {"mine": "casl.data.augment:weak"}}\n'
    offering(rows)
    offering(rows, name="her_pkg")
    assert main(["plan", "table4", "--profile", "smoke"]) == 2
    assert "augmentation 'mine' is offered by my_pkg 1.0" in (said := capsys.readouterr().err)
    assert "one of her_pkg 1.0" in said
    (broken,) = offers()
    assert broken.state == "broken" and "her_pkg 1.0" in broken.said


def test_the_first_of_two_folders_with_one_package_counts_as_when_it_is_imported(offering: Offering) -> None:
    offering('ROWS = {"augmentation": {"old": "casl.data.augment:weak"}}\n')
    offering('ROWS = {"augmentation": {"new": "casl.data.augment:weak"}}\n')
    assert {"old", "new"} & catalog.names("augmentation").keys() == {"new"}


def test_help_completion_and_doctor_list_them(offering: Offering, capsys: pytest.CaptureFixture[str]) -> None:
    offering(ROWS, FILES)
    with pytest.raises(SystemExit):
        main(["plan", "--help"])
    assert {"mine;", "tiny"} <= set(capsys.readouterr().out.split())
    from casl.cli.complete import COMPLETERS

    assert "mine" in COMPLETERS["tables"](prefix="") and "ap_mine" in COMPLETERS["metric"](prefix="")
    (finding,) = offers()
    assert finding.said.startswith("my_pkg 1.0 offers ablation mine, augmentation plain, detector mine_fcos")


def test_the_source_of_a_stage_names_files_of_the_package(offering: Offering) -> None:
    folder = offering(ROWS, FILES)
    stages = {stage.kind: stage for stage in ancestors(evaluation())}
    files = source_of(stages["finetune"]).files
    assert {f for f in files if f.startswith("my_pkg")} == {
        "my_pkg/__init__.py",
        "my_pkg/casl_rows.py detector mine_fcos",
        "my_pkg/detector.py",
        "my_pkg/parts/say.py",
    }
    assert {"casl/models/fcos.py", "casl/stages/finetune.py"} <= files.keys()
    assert {"my_pkg/measure.py", "casl/metrics/ap.py"} <= source_of(stages["evaluate"]).files.keys()
    assert not any(f.startswith(str(folder)) for f in files)


def test_no_package_means_that_metadata_is_not_imported() -> None:
    """It would be a sixth of the time of a plan."""
    script = "import sys; from casl import catalog\n"
    script += "assert catalog.names('metric') and 'importlib.metadata' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_workers_run_the_package_as_it_was_when_the_run_began(tmp_path: Path) -> None:
    folder = package(tmp_path / "site", ROWS, FILES)
    study = ("mine", "--profile", "tiny", "--cell", "F 1x", "W 0x")
    casl(tmp_path, "run", *study, "--jobs", "1", path=(folder,))
    store = Store(tmp_path / "store")
    name = next(n for n in store.names() if n.startswith("finetune"))
    assert "built by my_pkg" in (store.root / "worker.log").read_text()
    record = json.loads((store.folder(name) / "result.json").read_bytes())
    assert record["versions"]["my_pkg"] == "1.0"
    files = json.loads((store.root / "sources" / f"{record['source']}.json").read_bytes())
    assert {"my_pkg/detector.py", "my_pkg/parts/say.py"} <= files.keys()
    (code,) = (p for p in (store.root / "code").iterdir() if not p.name.startswith("."))
    assert (code / "my_pkg" / "parts" / "say.py").read_text() == FILES["parts/say.py"]
    assert (code / "my_pkg-1.0.dist-info" / "entry_points.txt").exists()
    write(folder, {"my_pkg/parts/say.py": "SAID = 'changed'\n"})
    said = casl(tmp_path, "plan", *study, "--rerun-moved", "--why", path=(folder,))
    assert "code moved: my_pkg/parts/say.py" in said
