"""The story of a report: which runs it is about, what it tells of them, and its part of the index.

The painter here draws nothing: its pictures are words, its F1 is written down. Real pictures are in tests/stages.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from casl.errors import DataError
from casl.report import html
from casl.report.blocks import Page, Tile
from casl.report.claims import judge
from casl.report.index import write_index
from casl.report.render import write_table
from casl.report.story import RECORD, STRIP, Story, files_of, read_story, to_json
from casl.report.story_choice import Choice, choose
from casl.report.story_page import opening
from casl.report.story_told import tell
from casl.report.table import Table, build_table
from casl.report.written import write_files
from casl.spec import Ablation, Cell, Evaluate, evaluate, finetune, labeler, pseudo_label, warmup
from casl.spec.claim import Claim, Place
from casl.spec.kinds import PseudoLabel, Train
from casl.spec.run import Run
from casl.spec.stage import Stage
from tests.report.sample import done
from tests.report.test_index import Page as Parsed
from tests.runner.stores import NANO

WARM, BASE = (evaluate(NANO, finetune(NANO, start), "ap_det") for start in (warmup(NANO), None))
LONGER = evaluate(NANO, finetune(NANO, None, schedule=2), "ap_det")
AS_LONG = evaluate(NANO, finetune(NANO, None, schedule=8), "ap_det")
SPECIFIC = evaluate(
    NANO,
    finetune(NANO, warmup(NANO, pseudo=pseudo_label(NANO, labeler(NANO, labels="objects", agnostic=False)))),
    "ap_det",
)
CLAIM = Claim("warmup-helps", "Warming up helps.", "Sec. 1", (Place("pair", "with", "AP", "ap_det"),),
              (Place("pair", "without", "AP", "ap_det"),))  # fmt: skip
CLASSES = [{"name": "disc", "objects": 3, "ap": 40.0}, {"name": "ring", "objects": 9, "ap": -1.0}]


def table(name: str, stages: Mapping[str, Evaluate], values: Sequence[float | None] = (30.0, 20.0)) -> Table:
    cells = tuple(Cell(row, "AP", "ap_det", stage) for row, stage in stages.items())
    runs: dict[str, Run] = {}
    for cell, value in zip(cells, values, strict=False):
        if value is not None and cell.stage:
            runs[cell.stage.name] = done(cell.stage, AP=value)
    return build_table(Ablation(name, f"Title of {name}", "", lambda _: cells), NANO, [cells], runs, {})


PAIR = table("pair", {"with": WARM, "without": BASE})


def stage_of(name: str) -> Stage | None:
    return {stage.name: stage for stage in (WARM, BASE, LONGER, AS_LONG, SPECIFIC)}.get(name)


def chosen(*tables: Table) -> Choice:
    found = choose(tables, stage_of)
    assert found is not None
    return found


@dataclass
class Picture:
    image: str
    boxes: int = 2
    size: tuple[int, int] = (256, 256)

    @property
    def jpeg(self) -> bytes:
        return self.image.encode()


@dataclass
class Licence:
    closed: str = ""
    credit: tuple[str, ...] = ()


@dataclass
class Painter:
    """Five images of val, whose F1 rises by 10, 40, 40, -20 and 0. gone: methods whose results are not there."""

    gone: tuple[str, ...] = ()
    licence: Licence = field(default_factory=Licence)
    above: float = 0.3
    named: int = 6

    def _there(self, what: str) -> None:
        if what in self.gone:
            raise DataError(f"{what}: no such file\n  run it again")

    def labeled(self, trained: Train) -> Picture:
        self._there("labeled")
        return Picture("labeled")

    def pseudo(self, labelled: PseudoLabel, threshold: float, count: int) -> list[tuple[Picture, Picture | None]]:
        self._there("pseudo")
        return [(Picture(f"p{n}"), Picture(f"t{n}")) for n in range(count)]

    def judged(self, done: Evaluate, image: int) -> Picture:
        self._there("judged")
        return Picture(f"{'with' if done == WARM else 'without'}{image}", boxes=image - 1)

    def true(self, done: Evaluate, image: int) -> Picture:
        return Picture(f"val{image}")

    def shown(self, done: Evaluate, count: int) -> list[int]:
        return [1, 2, 3, 4, 5][:count]

    def f1(self, done: Evaluate) -> Mapping[int, float]:
        self._there("f1")
        return {1: 60.0, 2: 90.0, 3: 80.0, 4: 0.0, 5: 5.0} if done == WARM else {1: 50, 2: 50, 3: 40, 4: 20, 5: 5}

    def terms(self) -> Licence:
        return self.licence

    def strip(self, pictures: Sequence[Any], headings: Sequence[str]) -> bytes:
        return " | ".join(f"{h}: {p.image}" for h, p in zip(headings, pictures, strict=True)).encode()


def told(painter: Painter, *, for_everyone: bool = False, choice: Choice | None = None) -> dict[str, bytes]:
    quality = {"AP": 31.0, "f1@0.0": 12.5, "f1@0.5": 9.0}
    found = tell(choice or chosen(PAIR), painter, lambda _: [CLASSES], quality, for_everyone=for_everyone)
    return {name: text.encode() if isinstance(text, str) else text for name, text in found.items()}


def story(painter: Painter, **how: Any) -> Story:
    return read(told(painter, **how)[RECORD])


def read(record: bytes) -> Story:
    """A record as a page reads it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / RECORD).write_bytes(record)
        found = read_story(Path(folder))
    assert found is not None
    return found


def test_the_first_table_with_both_sides_is_told() -> None:
    lone = table("lone", {"with": WARM, "longer": LONGER})
    found = chosen(lone, PAIR)
    assert found.base is not None
    assert (found.table.name, found.warm.cell.row, found.base.cell.row, found.seed) == ("pair", "with", "without", 0)
    assert (found.labelled.labeler, found.finetune.init) == (found.labeler, found.warmup)


@pytest.mark.parametrize("other", [LONGER, SPECIFIC, WARM], ids=["longer", "with classes", "itself"])
def test_only_twins_that_differ_in_the_warmup_are_compared(other: Evaluate) -> None:
    assert chosen(table("lone", {"with": WARM, "other": other} if other != WARM else {"with": WARM})).base is None


def test_a_training_without_the_warmup_that_is_as_long_is_told_beside_the_twin() -> None:
    """Else the gain of a warmup would be read as one of unlabeled images, where it may be that of a longer training."""
    both = table(
        "pair", {"with": WARM, "without": BASE, "longer": LONGER, "as long": AS_LONG}, (30.0, 20.0, 24.0, 28.0)
    )
    choice = chosen(both)
    assert choice.long is not None and choice.long.cell.row == "as long"
    told_of = story(Painter(), choice=choice)
    assert told_of.long == ("as long", "AP")
    words = Parsed(_page(told_of, both)).words
    assert "20.0 without: +10.0" in words and "Without the warmup and as long: 28.0, so +2.0" in words
    assert chosen(PAIR).long is None
    assert "that is as long is not measured in this table" in Parsed(_page(story(Painter(), choice=chosen(PAIR)))).words


def test_warmups_with_classes_and_what_is_not_measured_are_not_told() -> None:
    assert choose([table("a", {"with classes": SPECIFIC, "without": BASE})], stage_of) is None
    assert choose([table("a", {"with": WARM, "without": BASE}, [None, 20.0])], stage_of) is None
    assert choose([PAIR], lambda name: None) is None, "a table of another store"


def test_images_are_chosen_by_rule() -> None:
    found = told(Painter())
    record = read(found[RECORD])
    assert [row.heading for row in record.gains] == [
        "image val2: F1 50 without, 90 with", "image val3: F1 40 without, 80 with",
    ]  # fmt: skip
    assert [row.heading for row in record.losses] == ["image val4: F1 20 without, 0 with"]
    assert (record.rose, record.fell, record.same) == (3, 1, 1)
    assert found["story/finetune.jpg"] == b"with1", "the median change is that of image 1"
    assert found[STRIP].decode() == (
        "labeled image: labeled | pseudo labels: p0 | true objects: val1 | "
        "without warmup: without1 | with warmup: with1"
    )
    assert [row.heading for row in record.val] == [f"image val{n}" for n in (1, 2, 3, 4)]
    assert record.val[0].tiles[1].text == "nothing scores above 0.3"
    assert record.quality == (("AP of all labels", 31.0), ("F1 above 0", 12.5))
    assert [(line.name, line.warm) for line in record.classes] == [("ring", ()), ("disc", (40.0,))]


def test_every_picture_of_the_record_is_made_and_no_other() -> None:
    found = told(Painter())
    record = read(found[RECORD])
    tiles = [tile for tile in _tiles(record) if tile.file]
    assert {tile.file for tile in tiles} == files_of(record) == found.keys() - {RECORD, STRIP}
    assert all(tile.alt and tile.size == (256, 256) for tile in tiles)


def _tiles(record: Story) -> list[Tile]:
    rows = (*record.labels, *record.val, *record.gains, *record.losses)
    return [*record.steps, *(tile for row in rows for tile in row.tiles)]


@pytest.mark.parametrize(
    ("gone", "left"),
    [("pseudo", "story/finetune.jpg"), ("judged", "story/labels-1.jpg"), ("f1", "story/val-4-with.jpg")],
)
def test_results_that_are_gone_leave_the_rest(gone: str, left: str) -> None:
    found = told(Painter(gone=(gone,)))
    record = read(found[RECORD])
    assert record.notes == (f"{gone}: no such file",)
    assert found.keys() - {RECORD, STRIP} == files_of(record)
    assert left in found
    assert f"Not shown: {gone}: no such file." in _page(record)


def test_photographs_are_left_out_of_what_everyone_gets() -> None:
    closed = Painter(licence=Licence("unlabeled.json names no licence"))
    assert told(closed, for_everyone=True).keys() == {RECORD}
    record = story(closed, for_everyone=True)
    assert not any(tile.file for tile in _tiles(record))
    assert (record.rose, len(record.classes)) == (3, 2), "numbers stay"
    page = _page(record)
    assert "<img" not in page and "<figure" not in page, "no empty boxes, and no arrows between them"
    for words in ("Step 4 is the image", "Best and worst cases", "Pictures: ", "what it finds in an image"):
        assert words not in page and words in _page(story(closed)), words
    assert "the warmup raises it in 3 images" in page and "1. Labeled images</b>: " in page
    assert "Photographs are left out of what is published: unlabeled.json names no licence." in page
    assert "story/val-1-with.jpg" in told(closed), "on this machine they are shown"


def test_open_photographs_are_shown_with_their_licence() -> None:
    open_ = Painter(licence=Licence(credit=("CC-BY-4.0",)))
    assert "story/val-1-with.jpg" in told(open_, for_everyone=True)
    assert "CC-BY-4.0" in _page(story(open_, for_everyone=True))


def _page(record: Story | None, *tables: Table) -> str:
    used = tables or (PAIR,)
    return html.write(Page("x", opening(record, used, judge([CLAIM], used))))


def test_the_page_opens_with_the_method_and_has_every_part() -> None:
    page = _page(story(Painter()))
    places = [page.index(f'id="{name}"') for name in (
        "method", "verdicts", "pseudo-labels", "val", "cases", "classes", "main-table",
    )]  # fmt: skip
    assert places == sorted(places)
    words = Parsed(page).words
    assert "30.0 with the warmup, 20.0 without: +10.0" in words
    (longer, shorter) = re.findall(r"trains ([\d,]+) iterations with the warmup and ([\d,]+) without", words)[0]
    assert int(longer.replace(",", "")) > int(shorter.replace(",", "")) > 0, "the warmup comes on top"
    assert "the warmup raises it in 3 images, lowers it in 1, and 1 stay as they were" in words
    assert "Warming up helps." in words
    said = "at most 6 boxes have name and score"
    assert said in words and said not in Parsed(_page(replace(story(Painter()), named=0))).words
    assert page.count("<h1") == 1


def test_what_is_not_measured_says_what_to_run() -> None:
    nothing = _page(None, table("pair", {"with": WARM, "without": BASE}, [None, None]))
    assert "<img" not in nothing
    assert "make table2 PROFILE=nano" in nothing and "Nothing is measured yet: " in nothing
    some = _page(None, table("pair", {"with": WARM, "without": BASE}, [20.0, None]))
    assert "Nothing is measured" not in some and "No pair with and without this warmup" in some
    alone = table("lone", {"with": WARM})
    page = _page(story(Painter(), choice=chosen(alone)), alone)
    assert "The same without is in no table yet: <code>make table2 PROFILE=nano</code>" in page
    assert "without</b>" not in page, "no row repeats what is said once above"
    assert "make table2" in html.write(Page("x", opening(None, (), ())))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_story(tmp_path) is None
    record = story(Painter())
    (tmp_path / RECORD).write_text(to_json(record))
    assert read_story(tmp_path) == record
    for damage in ("", "{}", "[]", to_json(record).replace('"rose"', '"other"')):
        (tmp_path / RECORD).write_text(damage)
        with pytest.raises(DataError, match="casl report"):
            read_story(tmp_path)


def test_pictures_of_the_index_lie_beside_it(tmp_path: Path) -> None:
    write_files(tmp_path, told(Painter()))
    write_table(PAIR, tmp_path)
    write_index([PAIR], [CLAIM], tmp_path)
    page = Parsed((tmp_path / "index.html").read_text())
    files = {target for target in page.targets if target.startswith("story/")}
    assert len(files) == len(list((tmp_path / "story").iterdir()))
    assert all((tmp_path / name).is_file() for name in files)
    assert all(len(target) < 2000 for target in page.targets), "no picture is embedded"


def test_a_story_of_a_table_that_is_gone_says_so() -> None:
    assert "no longer part of this report" in _page(replace(story(Painter()), table="other"))
