"""The words and numbers that every printed form of a table shares."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from casl.report.additive import Estimate
from casl.report.layout import Gain, comparable, positions, quantity
from casl.report.table import PUBLISHED, Table, TableCell
from casl.spec.run import PORTABLE
from casl.words import number_of

MEAN_AND_SPREAD = "Behind a mean, ± is the sample standard deviation over seeds."
_IMAGES_ALONE = (
    "Behind a {}, images alone is its 95 % interval over bootstrap draws of the images; how much another seed would "
    "differ is not in it."
)
UNMEANT = ("smoke",)  # profiles that only show that everything runs: no number of theirs is better than another
REASONS = "reasons"  # has a heading of its own
_STANDS = re.compile(r"(?:^|; )([^;]+?)(?: on images of (\d+ px))? stands for ([^;]+)")  # in the note of a cell
_CHECKED = re.compile(r"\S+\.json: ")  # how a warning of the check of a data set begins


def number(value: float | None, *, signed: bool = False) -> str:
    """One decimal, as the paper prints; a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, 1) + 0.0  # no -0.0
    return f"{rounded:+.1f}" if signed and rounded else f"{rounded:.1f}"


def plus_minus(spread: float | None) -> str:
    """A spread or half an interval behind its number: " ± 0.4"; "" without one."""
    return "" if spread is None else f" ± {number(spread)}"


def mean_and_spread(values: Sequence[float]) -> str:
    """The mean of numbers of seeds and, of several, their sample standard deviation; a dash without any."""
    mean = number(statistics.fmean(values) if values else None)
    return mean + plus_minus(statistics.stdev(values) if len(values) > 1 else None)


def spread_said(shown: Iterable[Sequence[float]]) -> str:
    """What "±" means where numbers of seeds are shown as `mean_and_spread`; "" where none is of several."""
    return MEAN_AND_SPREAD if any(len(values) > 1 for values in shown) else ""


def legend(images: bool) -> str:
    """What "±" means of means and of differences. images: whether any interval holds images."""
    return f"{MEAN_AND_SPREAD} {_half(images)}"


def intervals_said(shown: Iterable[Estimate]) -> str:
    """What stands behind differences that are shown as `spread`; "" where none has an interval."""
    found = list(shown)
    several = [e for e in found if e.half_width is not None]
    said = [_half(any(e.of_images is not None for e in several))] if several else []
    if any(e.half_width is None and e.over_images for e in found):
        said.append(_IMAGES_ALONE.format("difference"))
    return " ".join(said)


def _half(images: bool) -> str:
    said = "Behind a difference, ± is half of its 95 % interval, over seeds"
    if images:
        return f"{said} and, where an evaluation kept bootstrap draws of its images, over images too."
    return f"{said} alone: no evaluation here kept bootstrap draws of its images."


def images_alone(table: Table) -> str:
    """What "images alone" behind a gain of one seed means; "" where no gain has such an interval."""
    if table.seeds > 1 or not table.baseline or not table.image_covariance:
        return ""
    return _IMAGES_ALONE.format("gain")


def low_to_high(interval: Sequence[float]) -> str:
    """An interval of differences: "+0.3 to +2.0"."""
    return " to ".join(number(value, signed=True) for value in interval)


def ours(cell: TableCell, seeds: int) -> str:
    """Our number: "31.2", "31.2 ± 0.4", "31.2 [2/3]" when seeds are missing, "–" when undefined, else the status.

    A cell that only quotes the paper gives the paper's number and says so: "39.8 (published)"; "–" without one.
    """
    if cell.status == PUBLISHED:
        if cell.paper is None:
            return number(None)
        return f"{number(cell.paper)} ({PUBLISHED})"
    if cell.status not in ("done", "partial"):
        return cell.status
    missing = f" [{cell.seeds}/{seeds}]" if cell.status == "partial" else ""
    return f"{number(cell.value)}{plus_minus(cell.std)}{missing}"


def best(table: Table) -> tuple[set[int], set[int]]:
    """Positions in table.cells of the highest number of each comparable group: ours, and the paper's.

    As printed, ties included; none where all numbers are equal, and none of ours where numbers mean nothing. Of ours
    those count that have as many seeds as any of the group: a seed is no mean of several.
    """
    seeds: dict[int, int] = {}
    groups = comparable(table)
    for cell, group in zip(table.cells, groups, strict=True):
        seeds[group] = max(seeds.get(group, 0), cell.seeds)
    whole = {id(cell) for cell, group in zip(table.cells, groups, strict=True) if cell.seeds == seeds[group]}
    mine = set() if table.profile in UNMEANT else _highest(table, lambda c: c.value if id(c) in whole else None)
    return mine, _highest(table, lambda c: c.paper)


def _highest(table: Table, value: Callable[[TableCell], float | None]) -> set[int]:
    groups: dict[int, list[tuple[float, int]]] = {}
    for i, (cell, group) in enumerate(zip(table.cells, comparable(table), strict=True)):
        if (v := value(cell)) is not None:
            groups.setdefault(group, []).append((round(v, 1), i))
    return {i for group in groups.values() for v, i in group if min(group)[0] < v == max(group)[0]}


def quantities(table: Table) -> str:
    """Metrics and figures: "ap_e AP, AP50", in brackets "(ap_e AP, ap_det AP)" where a place holds them all."""
    places = {
        tuple(quantity(table.cells[i]) for i in positions(table, r, c)) for r in table.rows for c in table.columns
    }
    if len(places) == 1 and len(several := next(iter(places))) > 1:
        return f"({', '.join(several)})"
    figures: dict[str, list[str]] = {}
    for cell in table.cells:
        if cell.figure not in figures.setdefault(cell.metric, []):
            figures[cell.metric].append(cell.figure)
    return ", ".join(f"{metric} {', '.join(names)}" for metric, names in figures.items())


def has_paper(table: Table) -> bool:
    """Whether there is a published number to stand beside ours."""
    return any(c.paper is not None for c in table.cells)


def compared_rows(table: Table) -> list[str]:
    """Rows with a cell that is to be measured, so that it can differ from the paper's."""
    return [r for r in table.rows if any(c.row == r and c.status != PUBLISHED for c in table.cells)]


def difference_label(table: Table) -> str:
    """Heading of ours minus the paper's, which only a profile at the paper's size may claim."""
    return "Difference, ours − paper" + (" (not a claim)" if table.small else "")


def gain_label(table: Table) -> str:
    """Heading of the differences to the baseline."""
    return f"Gain over {table.baseline}"


def measured(table: Table) -> str:
    """How many cells are measured: "24 of 25 cells measured, 3 of them in fewer seeds; 22 only quoted".

    Undefined is a cell that was evaluated and has nothing to measure, such as AP of large objects where there are none.
    """
    quoted = len(table.cells) - table.measurable
    fewer = sum(cell.status == "partial" and cell.value is not None for cell in table.cells)
    undefined = sum(cell.status == "done" and cell.value is None for cell in table.cells)
    cells = number_of(table.measurable, "cell")
    counted = f"{table.with_a_number} of {cells} measured" if table.measurable else "nothing to measure"
    counted += f", {fewer} of them in fewer seeds" if fewer else ""
    others = [f"{undefined} undefined"] * bool(undefined) + [f"{quoted} only quoted"] * bool(quoted)
    return counted + (f"{';' if fewer else ','} {', '.join(others)}" if others else "")


def profile_and_data(table: Table) -> str:
    """What a table was measured with, for people: "mini (its title), data scenes"."""
    return f"{table.profile} ({table.profile_title}), data {table.data}"


def headline(table: Table) -> list[str]:
    """Sentences above every table: what it is, from which profile and data, how much is measured."""
    seeds = f"{table.seeds} seeds (mean ± sample standard deviation)" if table.seeds > 1 else "1 seed"
    spreads = table.seeds > 1 and table.baseline
    return [
        sentence(table.source),
        f"Profile {profile_and_data(table)}, {seeds}.",
        f"{quantities(table)}, in percent; {measured(table)}.",
        whose_names(table),
        stood_in(table),
        untold(table),
        legend(bool(table.image_covariance)) if spreads else images_alone(table),
        uneven(table),
        *(note for note in table.notes if not _CHECKED.match(note)),
    ]


def whose_names(table: Table) -> str:
    """One sentence where "3.66M, Swin-L" would stand over a small profile's few images; "" elsewhere."""
    if not table.small or not has_paper(table):
        return ""
    return "Rows and columns keep their published names; data, sizes and backbones are this profile's."


def uneven(table: Table) -> str:
    """One sentence where rows have different seeds, so that a gain is not the difference of the means; "" elsewhere."""
    if not table.baseline or len({cell.seeds for cell in table.cells if cell.seeds}) < 2:
        return ""
    return (
        "Rows have different numbers of seeds, so a gain is that of a fit of all rows and seeds, and may differ from "
        "the difference of the printed means."
    )


def untold(table: Table) -> str:
    """One sentence where a file of several seeds does not say which trainings its cells share; "" elsewhere."""
    if table.seeds < 2 or not any(r.shares is None for cell in table.cells for r in cell.repetitions):
        return ""
    return (
        "Made before it was noted which trainings cells share: their errors are taken for independent, and intervals "
        "may be too narrow."
    )


def warned(table: Table) -> list[str]:
    """What the check of its data warned of, which is no headline: pages fold it, pictures leave it out."""
    return [note for note in table.notes if _CHECKED.match(note)]


def stand_ins(table: Table) -> dict[str, str]:
    """Headings that name a model of the paper -> what is in its place here, by the notes of cells: "resnet_nano"."""
    found: dict[str, set[str]] = {}
    for cell in table.cells:
        for name, size, heading in _STANDS.findall(cell.note):
            if heading in (cell.row, cell.column) and name != heading:
                found.setdefault(heading, set()).add(f"{name} at {size}" if size else name)
    return {heading: next(iter(names)) for heading, names in found.items() if len(names) == 1}


def here(table: Table, heading: str) -> str:
    """A heading with what stands for it: "R-101 (here resnet_nano)"."""
    stands = stand_ins(table).get(heading)
    return f"{heading} (here {stands})" if stands else heading


def stood_in(table: Table) -> str:
    """One sentence: "Stand-ins: resnet_nano for R-101, resnet_micro for Swin-T."; "" without any."""
    pairs = [f"{stands} for {heading}" for heading, stands in stand_ins(table).items()]
    return f"Stand-ins: {'; '.join(pairs)}." if pairs else ""


def sentence(text: str) -> str:
    """A text as a sentence of its own; "" stays."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def missing(table: Table) -> list[str]:
    """One line for each note of cells that are to be measured: what is missing and where to look; and of processors."""
    noted = _notes(table, [c for c in table.cells if c.status != PUBLISHED and c.note != "not run"])
    return [*noted, *filter(None, [processors(table)])]


def processors(table: Table) -> str:
    """One sentence where numbers that are compared were computed by unlike kernels; "" where all have the same bits."""
    found = Counter(
        PORTABLE if r.kernels.startswith(PORTABLE) else r.kernels.removeprefix("native, ")
        for cell in table.cells
        for r in cell.repetitions
        if r.value is not None and r.kernels
    )
    if len(found) < 2:
        return ""
    listed = "; ".join(f"{kernels}: {number_of(count, 'number')}" for kernels, count in sorted(found.items()))
    return f"not all were computed by the same kernels, and unlike kernels may differ as seeds do ({listed})"


def quoted(table: Table) -> list[str]:
    """One line for each reason why cells only quote the paper."""
    return _notes(table, [c for c in table.cells if c.status == PUBLISHED])


def _notes(table: Table, cells: list[TableCell]) -> list[str]:
    by_note: dict[str, list[TableCell]] = {}
    for cell in cells:
        if cell.note:
            by_note.setdefault(cell.note, []).append(cell)
    return [f"{'; '.join(_places(table, noted))}: {note}" for note, noted in by_note.items()]


def _places(table: Table, cells: list[TableCell]) -> list[str]:
    """Names of places; a whole row or column goes by its heading alone."""
    left, names = list(cells), []
    whole_rows = [r for r in table.rows if _is_whole([c for c in table.cells if c.row == r], left)]
    if not whole_rows:
        for column in table.columns:
            if _is_whole(line := [c for c in table.cells if c.column == column], left):
                names.append(column)
                left = [c for c in left if c not in line]
    single = dict.fromkeys(r if r in whole_rows else f"{r}, {c}" for r, c in ((c.row, c.column) for c in left))
    return [*names, *single]


def _is_whole(line: list[TableCell], among: list[TableCell]) -> bool:
    return len({(c.row, c.column) for c in line}) > 1 and all(c in among for c in line)


def together(texts: list[str]) -> str:
    """Numbers of one place as the paper prints them: "31.2", or "(31.2, 52.0)" for several."""
    return f"({', '.join(texts)})" if len(texts) > 1 else "".join(texts)


def tested(found: Estimate) -> str:
    """A difference with the half of its 95 % interval and its test: "+1.2 ± 0.3 (p 0.021)".

    "+1.2 (images alone: +0.3 to +2.0)" where no seeds tell a spread, "+1.2" where images do not either.
    """
    return spread(found) + (f" ({chance(found.p)})" if found.p is not None else "")


def spread(found: Estimate) -> str:
    """A difference with half of its 95 % interval, as in `tested`."""
    value = number(found.value, signed=True)
    if found.half_width is not None:
        return f"{value}{plus_minus(found.half_width)}"
    return f"{value} (images alone: {low_to_high(found.over_images)})" if found.over_images else value


def chance(p: float) -> str:
    """ "p 0.021", two significant digits, never zero."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}" if p < 0.1 else f"p {p:.2f}"


def gained(gain: Gain) -> str:
    """A gain beside the paper's: "+1.2 (+4.7)", "+1.2 ± 0.3 (p 0.021), paper +4.7"; a dash for none."""
    text = tested(gain.ours) if gain.ours else "–"
    if gain.paper is None:
        return text
    paper = number(gain.paper, signed=True)
    return f"{text}, paper {paper}" if text.endswith(")") else f"{text} ({paper})"
