"""The page on the quality of pseudo labels, from made-up runs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from matplotlib.figure import Figure

from casl.report import markdown
from casl.report.labels import Quality, page, paint, qualities, read_labels, to_json, write_labels
from casl.spec import SceneData, labeler, pseudo_label
from casl.spec.freeze import freeze
from casl.spec.run import Run
from tests.runner.stores import NANO

ENTITIES, CLASSES = "entities, class-agnostic, condinst resnet_micro", "objects, class-specific, condinst resnet_micro"


def labelled(seed: int, precision: float, *, objects: bool = False, status: str = "done") -> Run:
    profile = NANO.with_seed(seed)
    trained = labeler(profile, labels="objects", agnostic=False) if objects else labeler(profile)
    stage = pseudo_label(profile, trained)
    found = {f"{name}@{delta}": precision for name in ("precision", "recall", "f1") for delta in (0.1, 0.3)}
    found |= {"AP": precision + 1, "AP75": precision + 2}
    frozen, images = freeze(stage), {"images": 4}
    return Run(stage.name, stage.key, stage.kind, status, Path("/s"), metrics=found, stage=frozen, facts=images)


def of(*runs: Run) -> dict[str, Run]:
    return {run.name: run for run in runs}


def test_seeds_of_a_labeler_are_together_and_labelers_apart() -> None:
    found = qualities(of(labelled(0, 10.0), labelled(1, 20.0), labelled(0, 40.0, objects=True)))
    assert [(q.what, q.images) for q in found] == [(ENTITIES, 4), (CLASSES, 4)]
    assert found[0].values["precision", "0.3"] == (10.0, 20.0)
    assert found[0].values["AP", ""] == (11.0, 21.0)
    written = markdown.write(page(found, small=True))
    heads, lines = (line.split(" | ") for line in written.splitlines() if "| labeler |" in line or "± 7.1" in line)
    assert (heads[2:5], lines[2:5]) == (["AP", "AP75", "precision, δ 0.1"], ["16.0 ± 7.1", "17.0 ± 7.1", "15.0 ± 7.1"])
    assert "± is the sample standard deviation over seeds" in written


def test_labels_of_lookalikes_are_no_seeds_of_labels_of_things() -> None:
    assert isinstance(NANO.data, SceneData)
    one = labelled(0, 10.0)
    trained = labeler(replace(NANO, data=NANO.data.lookalikes()))
    found = qualities(of(one, replace(one, name="other", stage=freeze(pseudo_label(NANO, trained)))))
    assert [q.what for q in found] == [ENTITIES.replace("entities", "entities of lookalikes"), ENTITIES]


def test_files_are_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    runs = of(labelled(0, 10.0), labelled(0, 40.0, objects=True))
    paths = write_labels(runs, tmp_path, small=True)
    before = [path.read_bytes() for path in paths]
    assert [path.suffix for path in paths] == [".md", ".json", ".png"]
    write_labels(runs, tmp_path, small=True)
    assert [path.read_bytes() for path in paths] == before
    assert json.loads(paths[1].read_text())["labels"][1]["recall"] == {"0.1": [40.0], "0.3": [40.0]}
    assert json.loads(paths[1].read_text())["labels"][1]["AP75"] == [42.0]
    assert "SMALL PROFILE" in paths[0].read_text()


def test_without_a_hidden_truth_there_is_no_page(tmp_path: Path) -> None:
    blind = replace(labelled(0, 1.0), metrics={})
    assert write_labels(of(blind, labelled(1, 1.0, status="failed")), tmp_path, small=True) == []
    assert list(tmp_path.iterdir()) == []


def test_labelers_that_are_alike_do_not_hide_each_other_in_the_picture() -> None:
    values = {(name, delta): (30.0, 30.1) for name in ("precision", "recall", "f1") for delta in ("0.1", "0.3", "0.5")}
    figure = Figure(figsize=(10.0, 5.3), dpi=100)
    paint(figure, [Quality(f"labeler {n}", 246, (), values) for n in range(8)])
    for axes in figure.axes:
        marks = [
            axes.transData.transform(line.get_xydata()) for line in axes.lines if line.get_marker() in ("o", "s", "^")
        ]
        heights = sorted(y for line in marks for _, y in line)
        assert len(heights) == 8 * 3
        assert min(high - low for low, high in pairwise(heights)) > 5, "px"
    assert [label.get_text().partition("\n")[0] for label in figure.axes[0].get_yticklabels()] == [
        f"labeler {n}" for n in range(8)
    ]


def test_quality_is_read_as_it_was_written_and_names_its_stages() -> None:
    runs = of(labelled(0, 10.0), labelled(1, 20.0), labelled(0, 40.0, objects=True))
    found = qualities(runs)
    assert {name for one in found for name in one.stages} == runs.keys()
    record = json.loads(to_json(found, small=True))
    assert read_labels(record) == found
    for line in record["labels"]:
        del line["stages"]
    assert [one.stages for one in read_labels(record)] == [(), ()], "of an earlier version"
    assert "**OLDER.**" in markdown.write(page(found, True, "OLDER"))
