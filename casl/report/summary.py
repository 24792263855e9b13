"""Tables of results for README and docs, written from the shipped JSON reports and from nothing else.

`make docs` puts them between two marks, and a test compares: a document cannot say what its reports do not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from casl import catalog
from casl.errors import DataError, SpecError, unknown
from casl.report import markdown
from casl.report.blocks import Block, Bullets, Heading, Marked, Paragraph, Rows, caution
from casl.report.labels import FIGURES
from casl.report.significance import LEVEL
from casl.report.table import PUBLISHED
from casl.report.wording import low_to_high, number, plus_minus
from casl.spec.claim import by_id

BEGIN, END = "<!-- results: made by `make docs` from {folder} -->", "<!-- end of results -->"
# the claims that a first screen shows, by their ids
MAIN = (
    "warmup-helps",
    "agnostic-beats-specific",
    "longer-warmup-helps",
    "better-labeler-helps",
    "scale-helps-warmup",
    "scale-helps-finetune",
    "backbone-gains-most",
    "helps-every-framework",
)


def short(folder: Path) -> str:
    """The main claims in one table, for a README."""
    return _prose([_claims([judged_claim(folder, name) for name in MAIN])])


def judged_claim(folder: Path, name: str) -> Mapping[str, Any]:
    """A claim of the registry as the reports in a folder judged it; name: its id.

    Raises:
        SpecError: the registry has no such claim.
        DataError: the reports do not have it.
    """
    known = by_id(claim for registered in catalog.CLAIMS for claim in catalog.load("claims", registered))
    if name not in known:
        raise SpecError(unknown("claim", name, known))
    path, text = folder / "claims.json", known[name].text
    found: Mapping[str, Any] | None = next((c for c in _read(path)["claims"] if c["text"] == text), None)
    if found is None:
        raise DataError(f"{path} does not judge the claim {name} ({text!r}); `casl report all` writes it anew")
    return found


def long(folder: Path) -> str:
    """All claims with every comparison, then the quality of pseudo labels, for a document of its own."""
    claims = _read(folder / "claims.json")
    counted = ", ".join(f"{count} {verdict}" for verdict, count in claims["counts"].items())
    parts = [*caution(claims["warning"]), Paragraph(f"{len(claims['claims'])} claims: {counted}.")]
    parts += [Paragraph(f"Test: {claims['test']}."), _claims(claims["claims"])]
    for claim in claims["claims"]:
        said = f" ({claim['source']}) {claim['verdict'].capitalize()}: {claim['reason']}."
        parts.append(Paragraph((Marked("strong", claim["text"]), said)))
        if lines := [_evidence(e) for e in claim["evidence"] if e["difference"] is not None]:
            parts.append(Bullets(lines))
    if (reasons := folder / "reasons.json").is_file():
        parts += [Heading("Suspects, taken away one at a time"), _pairs(_read(reasons))]
    if (labels := folder / "labels.json").is_file():
        parts += [Heading("Quality of pseudo labels"), _labels(_read(labels)["labels"])]
    for other in sorted(folder.parent.glob(f"{folder.name}-*")):
        tables = [_read(path) for path in sorted(other.glob("table*.json"))]
        parts += [Heading(f"Real images: {tables[0]['data']}"), *(part for table in tables for part in _gains(table))]
    return _prose(parts)


def _prose(parts: Sequence[Block]) -> str:
    return markdown.write_blocks(parts, markdown.PROSE)


def placed(document: str, folder: str, text: str) -> str:
    """A document with the text between its marks.

    Raises:
        DataError: the document lacks the marks.
    """
    begin = BEGIN.format(folder=folder)
    before, opened, rest = document.partition(begin)
    _, closed, after = rest.partition(END)
    if not opened or not closed:
        raise DataError(f"the document has no lines {begin!r} and {END!r} to write results between")
    return f"{before}{begin}\n\n{text}\n\n{END}{after}"


def _claims(claims: Sequence[Mapping[str, Any]]) -> Rows:
    lines = []
    for claim in claims:
        measured = [e for e in claim["evidence"] if e["difference"] is not None]
        papers = [e["paper_difference"] for e in claim["evidence"] if e["paper_difference"] is not None]
        seeds = str(min((e["seeds"] for e in measured), default="–"))
        differences = _range([e["difference"] for e in measured])
        lines.append([claim["text"], claim["verdict"], seeds, _way(claim, measured), differences, _range(papers)])
    return Rows(["the paper says", "here", "seeds", "comparisons its way", "differences", "in the paper"], lines)


def _way(claim: Mapping[str, Any], measured: Sequence[Mapping[str, Any]]) -> str:
    """How many comparisons point the claim's way, and how many of these are significant: "6 of 7, 4 significant"."""
    if claim["within"] or not measured:
        return "–"
    pointing = [e for e in measured if e["difference"] > 0]
    tested = any(e["p"] is not None for e in measured)
    sure = f", {sum(e['p'] is not None and e['p'] < LEVEL for e in pointing)} significant" if tested else ""
    return f"{len(pointing)} of {len(measured)}{sure}"


def _range(values: Sequence[float]) -> str:
    """The smallest and the largest value: "-1.0 to +2.3"."""
    if not values:
        return "–"
    low, high = (number(v, signed=True) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _evidence(evidence: Mapping[str, Any]) -> str:
    spread = plus_minus(evidence["std"])
    seeds = f"{evidence['seeds']} seed{'s' if evidence['seeds'] != 1 else ''}"
    images = evidence["images"]
    over = f"; over images {low_to_high(images)}" if images else ""
    p = "" if evidence["p"] is None else f", p {evidence['p']:.2g}"
    return (
        f"{_term(evidence['better'])} over {_term(evidence['worse'])}: {number(evidence['difference'], signed=True)}"
        f"{spread} ({seeds}{p}{over}); paper {number(evidence['paper_difference'], signed=True)}"
    )


def _term(places: Sequence[Mapping[str, str]]) -> str:
    names = [f"{p['table']} {p['row']}, {p['column']} ({p['metric']})" for p in places]
    return f"[{' minus '.join(names)}]"


def _pairs(table: Mapping[str, Any]) -> Rows:
    """A table of two columns, the second the baseline, by their differences."""
    first, second = table["columns"]
    cells = {(c["row"], c["column"]): c for c in table["cells"]}
    lines = [
        [row, _value(cells[row, first]), _value(cells[row, second]), _gain(cells[row, first])] for row in table["rows"]
    ]
    return Rows([table["title"], first, second, "difference"], lines)


def _gains(table: Mapping[str, Any]) -> list[Block]:
    """A table's measured cells, one line each, with their gains over the baseline where it has one."""
    seeds = f"{table['seeds']} seed{'s' if table['seeds'] != 1 else ''}"
    quoted = any(cell["paper"] is not None for cell in table["cells"])
    heads = ["ours", f"gain over {table['baseline']}"] if table["baseline"] else ["ours"]
    heads += ["paper's gain" if table["baseline"] else "paper"] * quoted
    lines = []
    for cell in table["cells"]:
        if cell["value"] is not None:
            paper = number(cell["paper_gain"], signed=True) if table["baseline"] else number(cell["paper"])
            gain = [_gain(cell)] if table["baseline"] else []
            lines.append([cell["row"], cell["column"], _value(cell), *gain, *[paper] * quoted])
    asked = [cell for cell in table["cells"] if cell["status"] != PUBLISHED]
    measured = f"{sum(cell['value'] is not None for cell in asked)} of {len(asked)} cells measured"
    said = "; ".join([f"{table['title']}, {seeds}, {measured}", *table["notes"]])
    return [Paragraph(f"{said}."), Rows([table["name"], "", *heads], lines)]


def _value(cell: Mapping[str, Any]) -> str:
    return "–" if cell["value"] is None else number(cell["value"]) + plus_minus(cell["std"])


def _gain(cell: Mapping[str, Any]) -> str:
    if cell["gain"] is None:
        return "–"
    facts = [f"p {cell['gain_p']:.2g}"] if cell["gain_p"] is not None else []
    if cell["gain_images"]:
        facts.append(f"over images {low_to_high(cell['gain_images'])}")
    words = f" ({'; '.join(facts)})" if facts else ""
    return number(cell["gain"], signed=True) + plus_minus(cell["gain_std"]) + words


def _labels(labels: Sequence[Mapping[str, Any]]) -> Rows:
    places = [(figure, delta) for figure in FIGURES for delta in labels[0][figure]]
    lines = []
    for label in labels:
        values = [label[figure][delta] for figure, delta in places]
        lines.append([label["labeler"], f"{label['images']:,}", *(number(sum(v) / len(v)) for v in values)])
    return Rows(["labeler", "images", *(f"{figure} at {delta}" for figure, delta in places)], lines)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; `casl report all` writes it") from error


def main() -> None:
    """Write two documents anew: `python -m casl.report.summary reports/published/mini README.md docs/results.md`."""
    folder, readme, results = map(Path, sys.argv[1:])
    for document, text in ((readme, short(folder)), (results, long(folder))):
        document.write_text(placed(document.read_text(), str(folder), text))


if __name__ == "__main__":
    main()
