"""Pages say what the reports and the planner say."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from casl import catalog
from casl.cli import parser
from casl.errors import DataError
from casl.report.summary import MAIN, long, placed, short
from casl.runner.plan import make_plan
from casl.runner.store import Store
from casl.spec import Train, labeler, warmup_on_truth

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "reports" / "mini"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize(("page", "made"), [("README.md", short), ("docs/results.md", long)])
def test_results_in_a_page_are_those_of_the_shipped_reports(page: str, made: object) -> None:
    text = (ROOT / page).read_text()
    assert placed(text, "reports/mini", made(SHIPPED)) == text, "make docs"  # type: ignore[operator]


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(DataError, match="has no lines"):
        placed("# Results\n", "reports/mini", "text")


def test_every_main_claim_is_a_claim_of_the_registry() -> None:
    texts = [claim.text for claim in catalog.load("claims", "paper")]
    assert [sum(text.startswith(main) for text in texts) for main in MAIN] == [1] * len(MAIN)


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
    tables = {n: catalog.load("ablation", n) for n in catalog.ABLATIONS if n.startswith("table")}
    built = {name: table.build(profile) for name, table in tables.items()}
    units = {name: table.unit for name, table in tables.items()}
    for name, naive, unique, millions, days in lines:
        chosen = {name: list(built[name])} if name in built else {n: list(c) for n, c in built.items()}
        counts = make_plan(chosen, store, units, profile.epochs).counts
        assert int(naive) == sum(counts.naive_stages.values())
        assert int(unique) == sum(counts.unique_stages.values())
        assert millions == f"{counts.shared_iters / 1e6:.2f}"
        assert days == f"{counts.shared_iters / 4 / 86400:.1f}"
    assert len(lines) == len(tables) + 1


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
    claims = json.loads((SHIPPED / "claims.json").read_bytes())
    for claim in claims["claims"]:
        for evidence in claim["evidence"]:
            if evidence["better_value"] is None or len(evidence["better"]) > 1:
                continue
            place = evidence["better"][0]
            table = json.loads((SHIPPED / f"{place['table']}.json").read_bytes())
            cell = next(
                c
                for c in table["cells"]
                if all(c[name] == place[name] for name in ("row", "column", "metric", "figure"))
            )
            assert evidence["better_value"] in (pytest.approx(cell["value"]), *map(pytest.approx, cell["values"]))


def test_what_is_said_of_retinanet_is_so() -> None:
    assert "Both arms of that row are near zero" in (ROOT / "reports" / "README.md").read_text()
    table = json.loads((SHIPPED / "table10.json").read_bytes())
    values = [c["value"] for c in table["cells"] if c["row"] == "RetinaNet (P)"]
    assert len(values) == 2 and max(values) < 3.0
