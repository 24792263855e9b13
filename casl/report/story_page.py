"""The first sections of a report's index: the story of `casl.report.story` in blocks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from casl import catalog
from casl.report import blocks
from casl.report.additive import Estimate
from casl.report.claims import Verdict
from casl.report.claims_page import by_source, verdict_words
from casl.report.commands import USUAL, Where, another
from casl.report.fitted import difference, fitted
from casl.report.layout import positions
from casl.report.story import SHOWS, SHOWS_TOO, ClassLine, Shown, Story, files_of
from casl.report.story_choice import BOTH
from casl.report.table import Table, TableCell
from casl.report.wording import best, mean_and_spread, number, ours, spread, spread_said, tested

MANY = 20  # classes; more are shown on a click
_INTERVAL = blocks.Marked("small", "Behind a difference, ± is half of its 95 % interval.")

# claims that are told first, by their ids; the others follow folded
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


def opening(
    story: Story | None, tables: Sequence[Table], verdicts: Sequence[Verdict], where: Where = USUAL
) -> list[blocks.Block]:
    """The first sections of the index: the method, verdicts, labels, val, cases, classes and the table.

    Args:
        story: None where nothing is measured that it could show.
        tables: of the report.
        verdicts: on the claims, those about what is measured.
        where: folders that commands name.
    """
    parts: list[blocks.Block] = [blocks.Heading("The method in one line", "method")]
    if story is None:
        return [*parts, _steps(_to_run(tables, where)), *sentences(verdicts)]
    table = next((t for t in tables if t.name == story.table), None)
    parts.append(_steps(story.steps))
    parts += [blocks.Paragraph(line) for line in _result(story, table, to_run(tables, where))]
    parts += [*_said(story), *sentences(verdicts), *_labels(story), *_val(story), *_cases(story), *_classes(story)]
    parts += numbers(table) if table else []
    return parts


def _steps(steps: Sequence[blocks.Tile]) -> blocks.Block:
    """The steps in pictures; in words alone, without boxes and arrows, where there is no picture."""
    if any(step.file for step in steps):
        return blocks.Steps(steps)
    return blocks.Lines([(blocks.Marked("strong", step.title), ": ", _without_picture(step.text)) for step in steps])


def _without_picture(text: blocks.Text) -> blocks.Text:
    return text.replace(SHOWS, "").replace(SHOWS_TOO, "") if isinstance(text, str) else text


def _said(story: Story) -> list[blocks.Block]:
    """Why pictures are missing, and whose they are."""
    lines: list[blocks.Text] = [f"Not shown: {note}." for note in story.notes]
    lines += [f"Whose images these are: {credit}." for credit in story.credit]
    if story.closed:
        command = blocks.Marked("code", "casl report")
        why = f"Photographs are left out of what is published: {story.closed}. "
        lines.insert(0, (why, command, " without --publish shows them, on the machine that has them."))
    return [blocks.Paragraph(blocks.Marked("small", line)) for line in lines]


def _to_run(tables: Sequence[Table], where: Where) -> list[blocks.Tile]:
    """The steps where no pair is measured that could show them: what each is, and the command that makes one."""
    measured = any(cell.value is not None for table in tables for cell in table.cells)
    said = "No pair with and without this warmup is among the numbers below; it is made by: "
    lacking = said if measured else "Nothing is measured yet: "
    return [
        blocks.Tile("1. Labeled images", "A labeler learns from few labeled images."),
        blocks.Tile("2. Pseudo labels", "It marks objects in unlabeled images, whatever they are."),
        blocks.Tile("3. Warmup", "The detector learns from these marks, without classes."),
        blocks.Tile(
            "4. Finetune",
            (f"Then from the labeled images, with classes. {lacking}", blocks.Marked("code", to_run(tables, where))),
        ),
    ]


def to_run(tables: Sequence[Table], where: Where = USUAL) -> str:
    """The command that measures both sides of the story in the profile and on the data of a report."""
    if not tables:
        return f"make {BOTH}{where.variables}"
    first = next((t for t in tables if t.origin is None), tables[0])
    return another(first, BOTH, where)


def _result(story: Story, table: Table | None, lacking: str) -> list[blocks.Text]:
    """One sentence: both numbers and their difference. lacking: the command to run where a side is missing."""
    warm, base = _cell(table, story.warm, story), _cell(table, story.base, story)
    if table is None or warm is None:
        return [f"Pictures of {story.table}, which is no longer part of this report; `casl report` renews them."]
    link = blocks.Link(f"{table.title} ({table.name})", f"{table.name}.html")
    drawn = bool(files_of(story))
    seen: blocks.Text = ("Pictures: " if drawn else "From ", link, ", ", _place(story.warm), f", seed {story.seed}.")
    if base is None:
        said = f"{_quantity(story)} {ours(warm, table.seeds)} with the warmup. The same without is in no table yet: "
        return [(blocks.Raised(said), blocks.Marked("code", lacking)), seen]
    gain = difference(fitted([table]), table.name, warm, base)
    return [
        blocks.Marked("strong", blocks.Raised(_gain(gain, warm, base, table, story))),
        *_lengths(story, table, warm),
        (seen, " Without: ", _place(story.base), f".{_median(story)}"),
    ]


def _median(story: Story) -> str:
    """Which image the last step is, where it is one."""
    return " Step 4 is the image whose F1 changes by the median." if story.steps[-1].file else ""


def _lengths(story: Story, table: Table, warm: TableCell) -> list[blocks.Text]:
    """That both sides have one finetune and not one length, since the warmup comes on top; what length alone gives."""
    if not story.iterations:
        return []
    longer, shorter = story.iterations
    said = f"The target trains {longer:,} iterations with the warmup and {shorter:,} without: the finetunes are equal. "
    long = _cell(table, story.long, story)
    if long is None or long.value is None:
        return [f"{said}What a training without the warmup gains that is as long is not measured in this table."]
    gain = difference(fitted([table]), table.name, warm, long)
    told = f"Without the warmup and as long: {ours(long, table.seeds)}" + (f", so {tested(gain)}." if gain else ".")
    return [blocks.Marked("strong", blocks.Raised(told)), said.strip()]


def _gain(gain: Estimate | None, warm: TableCell, base: TableCell, table: Table, story: Story) -> str:
    sides = f"{ours(warm, table.seeds)} with the warmup, {ours(base, table.seeds)} without"
    return f"{_quantity(story)} {sides}" + (f": {tested(gain)}." if gain else ".")


def _quantity(story: Story) -> str:
    """As the paper writes it: "AP^det"."""
    return catalog.row("metric", story.metric).symbol or f"{story.metric} {story.figure}"


def _place(place: Sequence[str]) -> blocks.Text:
    return blocks.between([blocks.Raised(heading) for heading in place], " / ")


def _cell(table: Table | None, place: Sequence[str], story: Story) -> TableCell | None:
    if table is None or not place:
        return None
    found = [table.cells[i] for i in positions(table, *place)]
    return next((c for c in found if (c.metric, c.figure) == (story.metric, story.figure)), None)


def sentences(verdicts: Sequence[Verdict]) -> list[blocks.Block]:
    """One sentence for each claim that something here is measured of: the verdict, and differences with intervals.

    The main claims come first; the others stay folded where there are main ones.
    """
    told = [(n, v) for found in by_source(verdicts).values() for n, v in found if v.verdict != "not run"]
    if not told:
        return []
    main = [_sentence(n, v) for n, v in told if v.claim.id in MAIN]
    others = [_sentence(n, v) for n, v in told if v.claim.id not in MAIN]
    parts: list[blocks.Block] = [blocks.Heading("What it says of the claims", "verdicts"), blocks.Paragraph(_INTERVAL)]
    parts += [blocks.Bullets(main)] if main else []
    folded = f"{len(others)} more" if main else ""
    return [*parts, *([blocks.Group([blocks.Bullets(others)], summary=folded)] if others else [])]


def _sentence(n: int, verdict: Verdict) -> blocks.Text:
    link = blocks.Link(verdict.claim.text, f"claims.html#claim{n}")
    return (blocks.Marked(verdict.verdict, verdict_words(verdict)), " ", link, f" {interval(verdict)}")


def interval(verdict: Verdict) -> str:
    """What a verdict rests on: a difference with half of its 95 % interval, of several the least and the largest."""
    known = sorted(verdict.rests_on, key=lambda e: e.value)
    if len(known) > 1:
        return f"{len(known)} differences, from {spread(known[0])} to {spread(known[-1])}."
    return f"{spread(known[0])}." if known else ""


def _labels(story: Story) -> list[blocks.Block]:
    if not story.labels:
        return []
    figures = ", ".join(f"{name} {number(value)}" for name, value in story.quality)
    said = "Left the labels that the warmup learns from, right the truth, which the method never sees."
    alone = "The truth of these images is not known here."
    known = any(len(shown.tiles) > 1 for shown in story.labels)
    parts: list[blocks.Block] = [blocks.Heading("Pseudo labels beside the truth", "pseudo-labels")]
    parts.append(blocks.Paragraph(said if known else alone))
    parts += [blocks.Paragraph(f"Over all images, in percent: {figures}.")] if figures else []
    return [*parts, _rows(story.labels)]


def _val(story: Story) -> list[blocks.Block]:
    if not story.val:
        return []
    said = f"Spread evenly over val, not picked. Shown is what scores above {story.above:g}{_named(story)}."
    heading = "The same images without and with the warmup" if story.base else "Images of val after the warmup"
    return [blocks.Heading(heading, "val"), blocks.Paragraph(said), _rows(story.val)]


def _named(story: Story) -> str:
    if not story.named:
        return ""
    return f"; at most {story.named} boxes have name and score, those that score highest"


def _cases(story: Story) -> list[blocks.Block]:
    if not story.base or not (story.rose or story.fell or story.same):
        return []
    said = (
        f"F1 of an image, of what scores above {story.above:g}, mean over IoU .50:.05:.95: the warmup raises it in "
        f"{story.rose} images, lowers it in {story.fell}, and {story.same} stay as they were (seed {story.seed})."
    )
    title = "Best and worst cases" if story.gains or story.losses else "Image by image"
    parts: list[blocks.Block] = [blocks.Heading(title, "cases"), blocks.Paragraph(said)]
    for words, cases in (("Gains most", story.gains), ("Loses most", story.losses)):
        parts += [blocks.Paragraph(blocks.Marked("strong", words)), _rows(cases)] if cases else []
    return parts


def _rows(shown: Sequence[Shown]) -> blocks.Block:
    return blocks.Gallery([(one.heading, one.tiles) for one in shown])


def _classes(story: Story) -> list[blocks.Block]:
    if not story.classes:
        return []
    heads = ["class", "objects", *(["without"] if story.base else []), "with", *(["difference"] if story.base else [])]
    lines = [_class(line, twins=bool(story.base)) for line in story.classes]
    listed = blocks.Rows(heads, lines)
    many = len(lines) > MANY
    shown = blocks.Group([listed], summary=f"{len(lines)} classes, most objects in val first") if many else listed
    means = spread_said(values for line in story.classes for values in (line.warm, line.base))
    said = f"Percent, as {story.metric} counts it; most objects in val first. {means}".rstrip()
    return [blocks.Heading("AP of each class", "classes"), blocks.Paragraph(said), shown]


def _class(line: ClassLine, *, twins: bool) -> list[blocks.Text]:
    start: list[blocks.Text] = [line.name, f"{line.objects:,}"]
    if not twins:
        return [*start, mean_and_spread(line.warm)]
    known = line.warm and line.base
    gained = statistics.fmean(line.warm) - statistics.fmean(line.base) if known else None
    return [*start, mean_and_spread(line.base), mean_and_spread(line.warm), number(gained, signed=True)]


def numbers(table: Table) -> list[blocks.Block]:
    """Our numbers of a table alone, small; its page has the paper's, gains and where each comes from."""
    top = best(table)[0]

    def text(i: int) -> blocks.Text:
        words = ours(table.cells[i], table.seeds)
        return blocks.Marked("best", words) if i in top else words

    lines: list[list[blocks.Text]] = [
        [
            blocks.Raised(row),
            *(blocks.between([text(i) for i in positions(table, row, c)], ", ") for c in table.columns),
        ]
        for row in table.rows
    ]
    heads: list[blocks.Text] = [
        blocks.Raised(name) for name in (f"{table.row_axis} / {table.column_axis}", *table.columns)
    ]
    link = blocks.Link(f"{table.title} ({table.name})", f"{table.name}.html")
    return [blocks.Heading(link, "main-table"), blocks.Rows(heads, lines)]
