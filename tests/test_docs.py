"""Pages say what the reports and the planner say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from ablations import strength
from ablations.controls import LONG
from casl import catalog
from casl.cli import parser
from casl.errors import DataError, SpecError
from casl.report.additive import Estimate
from casl.report.claims import Verdict
from casl.report.layout import gains
from casl.report.significance import LEVEL
from casl.report.stored import read_table
from casl.report.summary import judged, judged_claim, long, placed, short
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Train, labeler, warmup, warmup_on_truth

ROOT = Path(__file__).resolve().parents[1]


REPORTS = ROOT / "reports" / "published"
SHIPPED = REPORTS / "mini"
# what a decision rested on is a figure of its day; no report corrects it
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").glob("*.md")} - {ROOT / "docs" / "decisions.md"})


def shipped(table: str) -> dict[str, Any]:
    """A shipped report, "mini/table4"."""
    report: dict[str, Any] = json.loads((REPORTS / f"{table}.json").read_bytes())
    return report


@pytest.mark.parametrize(("page", "made"), [("README.md", short), ("docs/results.md", long)])
def test_results_in_a_page_are_those_of_the_shipped_reports(page: str, made: object) -> None:
    text = (ROOT / page).read_text()
    assert placed(text, "reports/published/mini", made(SHIPPED)) == text, "make docs"  # type: ignore[operator]


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(DataError, match="has no lines"):
        placed("# Results\n", "reports/published/mini", "text")


def test_a_claim_that_is_not_there_is_named_by_its_id(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'warmup-helps'"):
        judged_claim(SHIPPED, "warmup-help")
    with pytest.raises(DataError, match=r"has no table\*\.json"):
        short(tmp_path)


def test_no_number_of_a_result_stands_in_a_page_outside_the_marks() -> None:
    """A sentence such as "23.0 AP" or "AP 23.0" that no report would correct."""
    for page in PAGES:
        text = page.read_text()
        text = re.sub(r"<!-- results:.*?<!-- end of results -->", "", text, flags=re.DOTALL)
        found = re.findall(r"\b\d+\.\d AP\b|\bAP \d+\.\d|\bPQ \d+\.\d|[+]\d+\.\d\b", text)
        assert not found, f"{page.name}: {found}"


def test_the_cost_of_the_papers_tables_is_what_the_planner_counts(tmp_path: Path) -> None:
    """The table in docs/reproduce.md; days at four iterations a second."""
    text = (ROOT / "docs" / "reproduce.md").read_text()
    lines = [[w.strip() for w in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][1:]
    profile, store = catalog.load("profile", "paper"), Store(tmp_path)
    named = [n for n in catalog.ABLATIONS if n.startswith("table")] + ["rivals", "ladder", "thresholds"]
    tables = {n: catalog.load("ablation", n) for n in named}
    built = {name: table.build(profile) for name, table in tables.items()}
    units = {name: table.unit for name, table in tables.items()}
    ten = {n: list(c) for n, c in built.items() if n.startswith("table")}
    for name, naive, unique, millions, days in lines:
        chosen = {name: list(built[name])} if name in built else ten
        counts = make_plan(chosen, store, units, profile.epochs).counts
        assert int(naive) == sum(counts.naive_stages.values())
        assert int(unique) == sum(counts.unique_stages.values())
        assert millions == f"{counts.shared_iters / 1e6:.2f}"
        assert days == f"{counts.shared_iters / 4 / 86400:.1f}"
    assert len(lines) == len(tables) + 1
    counts = make_plan({n: list(c) for n, c in built.items()}, store, units, profile.epochs).counts
    cost = f"{sum(counts.naive_stages.values())} stages without sharing, {sum(counts.unique_stages.values())} with it"
    hours = f"{counts.shared_iters / 4 / 3600:,.0f} device-hours"
    said = (ROOT / "docs" / "cluster.md").read_text()
    assert f"{cost}, {counts.shared_iters / 1e6:.2f} million iterations of 16 images" in said and hours in said


def test_the_recipes_in_the_docs_are_those_of_profile_paper() -> None:
    profile = catalog.load("profile", "paper")
    text = (ROOT / "docs" / "method.md").read_text().partition("## Recipes")[2]
    lines = [[w.strip() for w in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")][1:]
    stages: list[Train] = [labeler(profile, backbone="swin_l"), labeler(profile, backbone="resnet101")]
    stages += [warmup_on_truth(profile, detector="fcos", backbone="resnet50")]
    for name, *written, _ in lines:
        found = [getattr(s.recipe, name, getattr(s.model, name, None)) for s in stages]
        values = [f"{v[0]} .. {v[-1]}" if isinstance(v, tuple) else str(v) for v in found]
        assert written == values, name
    assert len(lines) == 9


def test_every_command_of_a_page_parses() -> None:
    """Lines of code blocks that call casl: verbs and options exist."""
    checked = 0
    for page in PAGES:
        if page.name == "cli.md":  # its examples have a test of their own
            continue
        for block in re.findall(r"```\n(.*?)```", page.read_text(), flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for command in _commands(line):
                    parser().parse_args(command)
                    checked += 1
    assert checked > 20


def _commands(line: str) -> list[list[str]]:
    """Arguments of each `casl` in a line of a shell; a line with an arrow is something that casl prints."""
    if not line.startswith(("casl ", ".venv/bin/casl ")) or "->" in line:
        return []
    parts = line.partition("#")[0].split("&&")
    return [shlex.split(part)[1:] for part in parts if "|" not in part]


def test_the_shipped_claims_are_about_the_shipped_tables() -> None:
    claims = shipped("mini/claims")
    for claim in claims["claims"]:
        for evidence in claim["evidence"]:
            if evidence["better_value"] is None or len(evidence["better"]) > 1:
                continue
            place = evidence["better"][0]
            table = shipped(f"mini/{place['table']}")
            cell = next(
                c
                for c in table["cells"]
                if all(c[name] == place[name] for name in ("row", "column", "metric", "figure"))
            )
            assert evidence["better_value"] in (pytest.approx(cell["value"]), *map(pytest.approx, cell["values"]))


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """The claims as the shipped tables judge them, by their ids."""
    return {v.claim.id: v for v in judged(SHIPPED)}


def measured(verdict: Verdict) -> list[Estimate]:
    """What a claim compares, as far as it is measured."""
    return [e.difference for e in verdict.evidence if e.difference]


def sure(found: Estimate) -> bool:
    """Whether a comparison is significant by itself."""
    return found.p is not None and found.p < LEVEL


def gain_of(row: str, table: str = "mini/reasons", column: str = "this") -> Estimate:
    """A gain of a shipped table: by default the difference of a pair of the ablation `reasons`."""
    made = read_table(REPORTS / f"{table}.json")
    (place,) = (i for i, c in enumerate(made.cells) if (c.row, c.column) == (row, column))
    found = gains(made)[place].ours
    assert found is not None
    return found


def test_what_is_said_to_show_shows(verdicts: dict[str, Verdict]) -> None:
    for name, unsure in (("warmup-helps", 1), ("helps-every-framework", 2)):
        found = measured(verdicts[name])
        assert all(e.value > 0 for e in found) and sum(not sure(e) for e in found) == unsure, name
    for name in ("longer-warmup-helps", "scale-helps-warmup"):
        assert verdicts[name].verdict == "supported"
        first, *later = measured(verdicts[name])
        assert first.value > 0 and sure(first) and not any(map(sure, later))
    assert {name for name, v in verdicts.items() if v.verdict in ("supported", "contradicted", "equivalent")} == {
        "longer-warmup-helps",
        "scale-helps-warmup",
    }
    for name in ("better-labeler-helps", "scale-helps-finetune", "backbone-gains-most"):
        assert verdicts[name].verdict == "too imprecise" and "among all claims it is not" in verdicts[name].reason
    table = shipped("mini/table5")
    values = {(c["row"], c["column"]): c["value"] for c in table["cells"] if c["metric"] == "ap_e"}
    weakest = [min((v, column) for (r, column), v in values.items() if r == row)[1] for row in table["rows"]]
    assert weakest == ["R-101", "R-101"]


def test_what_is_said_of_suspects_is_so(verdicts: dict[str, Verdict]) -> None:
    labels = {x["labeler"]: x["f1"] for x in shipped("mini/labels")["labels"]}
    without, with_classes = (labels[f"objects, class-{kind}, condinst resnet10t"] for kind in ("agnostic", "specific"))
    assert all(sum(without[delta]) > sum(with_classes[delta]) for delta in without)
    handed, new = "Table 2: warmup without classes, with classes", "the same, every finetune with a new classifier"
    assert gain_of(new).value < gain_of(handed).value < 0 and sure(gain_of(new)) and not sure(gain_of(handed))

    losses = [gain_of(f"the same {kind}, as many images") for kind in ("without classes", "with classes")]
    assert all(sure(e) and e.value < -3 for e in losses)
    assert not any(sure(gain_of(f"Table 1: {k} pseudo labels, truth")) for k in ("without classes", "with classes"))

    for what in ("detection", "panoptic"):
        pseudo, true = (
            gain_of(f"Table 2: {what} after warmup on entities, objects"),
            gain_of(f"the same {what} on hidden truth"),
        )
        assert pseudo.value < 0 and not sure(pseudo) and not sure(true)

    short, long = gain_of("Table 6: finetuning with strong, weak augmentation"), gain_of("the same for 5x")
    assert short.value < 0 < long.value and sure(long)

    table4 = shipped("mini/table4")
    values = {(c["row"], c["column"]): c["value"] for c in table4["cells"]}
    assert table4["seeds"] == 1 and max(values, key=values.__getitem__) == ("F 2x", "W 3x")
    third, longest = (sum(values[row, f"W {n}x"] for row in table4["rows"]) for n in (3, 5))
    assert longest < third
    longer = [value for (row, _), value in values.items() if row != "F 1x"]
    assert max(longer) - min(longer) < 5

    assert verdicts["neck-and-head-add"].verdict == "too imprecise"

    mini = catalog.load("profile", "mini")
    drawn = warmup(mini).iters * mini.warmup_recipe.batch
    text = (ROOT / "docs" / "results.md").read_text()
    assert f"{drawn:,} images drawn" in text and mini.images_in("base") < drawn < mini.images_in("large")


def table2_of(folder: str) -> dict[str, dict[str, Any]]:
    """Row -> the cell of AP^det of a shipped Table 2 on real images."""
    return {c["row"]: c for c in shipped(f"{folder}/table2")["cells"] if c["column"] == "AP^det"}


def test_what_is_said_of_blood_cells_is_so() -> None:
    cells = table2_of("mini-bccd-size96")
    folder = "mini-bccd-size96/table2"
    truth, specific, agnostic = (gain_of(f"Objects ({k})", folder, "AP^det") for k in ("G, A", "P, S", "P, A"))
    assert cells["Objects (P, A)"]["seeds"] == 3 and agnostic.value > truth.value > 0
    assert sure(agnostic) and sure(specific) and not sure(truth)
    assert specific.half_width and abs(specific.value - agnostic.value) < specific.half_width
    parts = {c["row"]: c for c in shipped("mini-bccd-size96/table9")["cells"] if c["column"] == "AP^det"}
    backbone, whole = parts["backbone"]["gain"], parts["all"]["gain"]
    assert parts["all"]["seeds"] == 1 and backbone > whole - backbone > 0
    scales: dict[str, list[float]] = {}
    for cell in shipped("mini-bccd-size96/table7")["cells"]:
        scales.setdefault(cell["column"], []).append(cell["value"])
    assert scales["warmup AP^e"] == sorted(scales["warmup AP^e"])
    assert scales["finetuned AP^det"][-1] == max(scales["finetuned AP^det"])


def test_a_table_without_a_baseline_has_its_values_alone() -> None:
    text = (ROOT / "docs" / "results.md").read_text()
    for cell in shipped("mini-bccd-size96/table7")["cells"]:
        assert f"| {cell['row']} | {cell['column']} | {cell['value']:.1f} |" in text


def test_what_is_said_of_road_scenes_is_so() -> None:
    cells = shipped("mini-camvid-size96/table2")["cells"]
    found = {(c["row"], c["column"]): c for c in cells}
    boxes = [c["value"] for c in cells if c["column"] == "AP^det"]
    assert len(boxes) == 5 and max(boxes) < 5 and {c["seeds"] for c in cells} == {1}
    assert all(c["gain"] > 0 for (row, _), c in found.items() if "(P, " in row and c["gain"] is not None)
    entities, objects = found["Entities (P, A)", "PQ"], found["Objects (P, A)", "PQ"]
    assert entities["value"] > objects["value"] > found["ImageNet", "PQ"]["value"]


def test_no_training_behind_a_shipped_table_lost_a_side_of_its_boxes() -> None:
    tables = sorted(REPORTS.glob("*/table*.json"))
    cells = [(path, cell) for path in tables for cell in json.loads(path.read_bytes())["cells"]]
    assert len(tables) >= 12 and not [(p, c["row"]) for p, c in cells if "died" in c["note"]]


def test_what_is_said_of_photographs_is_so() -> None:
    table = shipped("photos-voc_animals/strength")
    assert table["seeds"] == 1
    of = {(c["row"], c["column"]): c["value"] for c in table["cells"] if c["value"] is not None}
    for column, least in (("finetuned AP^det", 0.5), ("finetuned AP^det-a", 2.0)):
        none, long, oracle = (of[row, column] for row in (strength.NONE, LONG, strength.TRUTH))
        assert oracle - long > least and abs(long - none) < 1.0
    assert {row for row, _ in of} == {strength.NONE, LONG, strength.TRUTH}, "say what labels of a labeler gain"
