"""The page on AP of each class, from a made-up table."""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from casl.report import markdown
from casl.report.per_class import drawing, page, per_class, to_json, write_classes
from casl.report.table import Table
from tests.report.sample import cells, done, inked, stage_of, table


def made(metric: str = "ap_det") -> Table:
    seeds = [cells(seed, [metric]) for seed in range(2)]
    return table(seeds, [done(stage_of(c), AP=30.0, PQ=1.0, AR100=1.0) for same in seeds for c in same])


def figures(found: Table) -> dict[str, Any]:
    """The rare class before the common one; a class without objects; the last cell's second seed was not kept."""
    names = [one.name for cell in found.cells for one in cell.repetitions]
    counted: dict[str, Any] = {
        name: [
            {"name": "rare", "objects": 3, "ap": 10.0 + n, "ap50": 20.0 + n},
            {"name": "com|mon", "objects": 1200, "ap": 50.0, "ap50": 80.0},
            {"name": "absent", "objects": 0, "ap": -1.0, "ap50": -1.0},
        ]
        for n, name in enumerate(names)
    }
    return counted | {names[-1]: "not counted: gone"}


def test_classes_stand_by_falling_number_of_objects_with_the_mean_over_seeds() -> None:
    found = made()
    joined = per_class(found, figures(found).__getitem__)
    assert joined is not None
    assert list(joined.objects.items()) == [("com|mon", 1200), ("rare", 3), ("absent", 0)]
    first, last = joined.columns[0], joined.columns[-1]
    assert (first.place, first.text("rare"), first.text("absent")) == ("F 1x / W 1x", "10.5 ± 0.7", "–")
    assert (last.text("rare"), last.notes) == ("16.0", ("seed 1: not counted: gone",))
    written = markdown.write(page(joined, "x.png"))
    rows = [line for line in written.splitlines() if line.startswith(("| com", "| rare"))]
    assert rows[0].startswith(r"| com\|mon | 1,200 | 50.0 ± 0.0 |") and rows[1].startswith("| rare | 3 | 10.5 ± 0.7 |")
    assert "F 2x / W 2x: seed 1: not counted: gone" in written and "SMALL PROFILE" in written


def test_frequent_classes_have_their_mean_where_others_are_rare() -> None:
    found = made()
    joined = per_class(found, figures(found).__getitem__)
    assert joined is not None and joined.frequent == ["com|mon"]
    last = markdown.write(page(joined, "x.png")).partition("| mean of the 1 with 100 objects or more | 1,200 |")[2]
    assert last.startswith(" 50.0 ± 0.0 |")
    assert joined.columns[0].over(["rare", "com|mon"]) == (30.0, 30.5)
    assert joined.columns[0].over(["rare", "com|mon"], loose=True) == (50.0, 50.5)
    assert "| mean of the 1 with 100 objects or more, at IoU .50 | 1,200 | 80.0 ± 0.0 |" in markdown.write(
        page(joined, "x.png")
    )
    assert json.loads(to_json(joined))["frequent"]["means"][-1] == [50.0]
    assert json.loads(to_json(joined))["frequent"]["means_50"][-1] == [80.0]
    every = replace(joined, objects={"rare": 100, "com|mon": 1200, "absent": 0})
    assert every.frequent == [] == replace(joined, objects={"rare": 3}).frequent
    assert "frequent" not in json.loads(to_json(every)) and "mean of the" not in markdown.write(page(every, "x.png"))


def test_a_cell_about_some_classes_has_no_mean_over_others() -> None:
    found = made()
    counted, about = figures(found), {one.name for one in found.cells[0].repetitions}
    joined = per_class(found, lambda name: counted[name][:1] if name in about else counted[name])
    assert joined is not None and joined.frequent == ["com|mon"]
    first, second = joined.columns[:2]
    assert (first.text("rare"), first.text("com|mon"), first.over(joined.frequent)) == ("10.5 ± 0.7", "–", ())
    assert second.over(joined.frequent) == (50.0, 50.0)
    last = markdown.write(page(joined, "x.png")).partition("| mean of the 1 with 100 objects or more | 1,200 |")[2]
    assert last.startswith(" – | 50.0 ± 0.0 |")
    rare = replace(joined, columns=joined.columns[:1])
    assert "mean of the" not in markdown.write(page(rare, "x.png")), "no line of dashes"


def test_a_cell_on_other_images_says_how_many_objects_these_have() -> None:
    found = made()
    counted, away = figures(found), {one.name for one in found.cells[0].repetitions}
    more = {name: [{**c, "objects": 2 * c["objects"]} for c in counted[name]] for name in away}
    joined = per_class(found, (counted | more).__getitem__)
    assert joined is not None and joined.objects == {"com|mon": 1200, "rare": 3, "absent": 0}, "as in most cells"
    assert [c.elsewhere for c in joined.columns[:2]] == [2406, None]
    head = next(line for line in markdown.write(page(joined, "x.png")).splitlines() if line.startswith("| class |"))
    assert "F 1x / W 1x (2,406 objects) |" in head and "F 1x / W 2x |" in head
    assert joined.columns[0].over(joined.frequent) == () and joined.columns[1].over(joined.frequent) == (50.0, 50.0)
    columns = json.loads(to_json(joined))["columns"]
    assert columns[0]["objects"] == 2406 and "objects" not in columns[1]


def test_objects_are_those_of_a_cell_about_all_classes() -> None:
    """Others are about one class, on other images."""
    found = made()
    counted, whole = figures(found), {one.name for one in found.cells[0].repetitions}
    few = {name: [{"name": "rare", "objects": 7, "ap": 5.0, "ap50": 9.0}] for name in counted if name not in whole}
    joined = per_class(found, (counted | few).__getitem__)
    assert joined is not None and joined.objects == {"com|mon": 1200, "rare": 3, "absent": 0}
    assert joined.columns[0].elsewhere is None and joined.columns[1].elsewhere == 7


def test_a_table_of_classes_without_objects_has_a_page_that_says_so(tmp_path: Path) -> None:
    found = made()
    absent = {name: figures(found)[name][2:] for name in list(figures(found))[:-1]}
    joined = per_class(found, lambda name: absent.get(name, "not run"))
    assert joined is not None and joined.counted == []
    written = markdown.write(page(joined, "x.png"))
    assert "F 1x / W 1x; F 1x / W 2x; F 2x / W 1x: none of its classes has objects" in written
    assert "| class |" not in written
    with warnings.catch_warnings(action="error"):
        assert len(write_classes(found, lambda name: absent.get(name, "not run"), tmp_path)) == 5


def test_cells_without_a_number_are_named_and_have_no_column() -> None:
    found = made()
    gone = [one.name for one in found.cells[1].repetitions]
    counted = figures(found)
    joined = per_class(found, lambda name: "not run" if name in gone else counted[name])
    assert joined is not None and len(joined.counted) == len(joined.columns) - 1
    head = next(line for line in markdown.write(page(joined, "x.png")).splitlines() if line.startswith("| class |"))
    assert "F 1x / W 1x" in head and "F 1x / W 2x" not in head
    assert "F 1x / W 2x: seed 0: not run" in markdown.write(page(joined, "x.png"))
    assert len(json.loads(to_json(joined))["columns"]) == len(joined.columns)


def test_files_are_written_twice_with_the_same_bytes(tmp_path: Path) -> None:
    found = made()
    paths = write_classes(found, figures(found).__getitem__, tmp_path)
    before = [path.read_bytes() for path in paths]
    assert [p.name for p in paths] == [f"classes-table4.{suffix}" for suffix in ("md", "html", "json", "png", "svg")]
    write_classes(found, figures(found).__getitem__, tmp_path)
    assert [path.read_bytes() for path in paths] == before
    record = json.loads(before[2])
    assert record["objects"] == {"com|mon": 1200, "rare": 3, "absent": 0}
    assert record["columns"][0]["values"] == {"rare": [10.0, 11.0], "com|mon": [50.0, 50.0], "absent": []}
    assert Image.open(io.BytesIO(before[3])).size[0] > 300


def test_a_table_without_a_metric_over_classes_has_no_page(tmp_path: Path) -> None:
    found = made("pq")
    assert write_classes(found, lambda name: [], tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_long_title_is_not_cut_off_by_a_narrow_picture() -> None:
    found = made()
    joined = per_class(replace(found, title="What a warmup gains, by many words " * 4), figures(found).__getitem__)
    assert joined is not None
    last, width = inked(drawing(joined).png)
    assert last < width - 3
