"""The readable name, parameters, tags and note of a mirrored run, as text. No MLflow here."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from casl.errors import SpecError
from casl.spec.data_kinds import DataSet
from casl.spec.freeze import freeze, thaw
from casl.spec.kinds import Train
from casl.spec.run import CURVES, FAILURE, PICTURES, RESULT, Run
from casl.spec.stage import FINAL, Record, Stage, ancestors
from casl.spec.varied import ALIASES
from casl.tracking.address import Address, list_page, run_page
from casl.tracking.experiment import CELL, KIND, NOTE_TAG, by_number

# MLflow refuses longer values: 6000 characters for a parameter, 8000 for a tag
PARAM_LENGTH, TAG_LENGTH = 5000, 7500
TITLE_LENGTH = 250
TITLE_TAG = "mlflow.runName"  # MLflow shows its value as the name of the run
UNDEFINED = -1.0  # a figure that has nothing to be measured on, as pycocotools writes it
ARTIFACTS = ("log.txt", RESULT, FAILURE, CURVES)
MOST_LISTED = 40  # runs in one address


@dataclass(frozen=True)
class Sheet:
    """One run as MLflow shows it. tags include the title and the note; metrics are the final figures."""

    title: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def stage_of(run: Run) -> Stage | None:
    """The stage a run computed; None if its record holds none that this version of casl understands."""
    try:
        stage = thaw(dict(run.stage)) if run.stage else None
    except SpecError:
        return None
    return stage if isinstance(stage, Stage) else None


def describe(run: Run, stage: Stage | None, uses: Mapping[str, Sequence[str]], links: Mapping[str, Address]) -> Sheet:
    """Everything that MLflow shows of a run, apart from curves and files.

    Args:
        run: done or failed.
        stage: what it computed, from `stage_of`.
        uses: table -> places in it that this stage feeds.
        links: stage name -> experiment and run id, for what led to this stage and is in MLflow.
    """
    figures = _measured(run, stage)
    metrics = {legal(f"{stage.figures_of if stage else FINAL}/{figure}"): v for figure, v in figures.items()}
    title = _title(run, stage, uses, metrics)
    metrics |= {legal(f"system/{n}"): float(v) for n, v in dict(run.facts.get("system") or {}).items()}
    tags = {TITLE_TAG: title, **_facts(run), **_data_tags(stage), **_cells(uses)}
    tags[NOTE_TAG] = _short(_note(run, stage, uses, links), TAG_LENGTH)
    return Sheet(title, _params(stage) if stage else {}, metrics, tags)


def _measured(run: Run, stage: Stage | None) -> dict[str, float]:
    """Final figures, without those for which there was nothing to measure; the loss of a training may be anything."""
    every = {figure: float(value) for figure, value in run.metrics.items()}
    return every if isinstance(stage, Train) else {n: v for n, v in every.items() if v != UNDEFINED}


def _title(run: Run, stage: Stage | None, uses: Mapping[str, Sequence[str]], metrics: Mapping[str, float]) -> str:
    """What a run is called: its cell first, if it is of one cell, and the figure that stands for it there.

    A stage that measures is named after the first cell it feeds, whatever else shows its number; a training that
    several cells go through is of none of them.
    """
    name = stage.title if stage else run.name
    places = _in_order(uses)
    if stage is None or not places or (not stage.measures and len(places) > 1):
        return _short(name, TITLE_LENGTH)
    found = [f"{f.partition('/')[2]} {v:.1f}" for f, v in metrics.items() if stage.is_headline(f)]
    return _short(f"{', '.join([places[0], *found])} · {name}", TITLE_LENGTH)


def with_places(
    tags: Mapping[str, str], old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """The tags of a run, note included, that feeds other places than before."""
    kept = {name: value for name, value in tags.items() if name not in _cells(old)}
    note = kept[NOTE_TAG].replace(_uses(old), _uses(new)).replace("\n\n\n\n", "\n\n")
    return {**kept, TITLE_TAG: _retitled(kept.get(TITLE_TAG, ""), old, new), **_cells(new), NOTE_TAG: note}


def _retitled(title: str, old: Mapping[str, Sequence[str]], new: Mapping[str, Sequence[str]]) -> str:
    """A title that began with the first place, with that of now, or without any."""
    before, after = next(iter(_in_order(old)), ""), next(iter(_in_order(new)), "")
    if not before or not title.startswith(before):
        return title
    return f"{after}{title[len(before) :]}" if after else title[len(before) :].partition(" · ")[2]


def _in_order(uses: Mapping[str, Sequence[str]]) -> list[str]:
    """The places of all tables, each once."""
    return list(dict.fromkeys(place for table in by_number(uses) for place in uses[table]))


def legal(name: str) -> str:
    """A name MLflow accepts: letters, digits and _ - . / space; anything else becomes an underscore."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)


def _params(stage: Stage) -> dict[str, str]:
    """Fields of a stage by dotted name, then those of what led to it with its kind in front: "warmup.iters".

    An input stands for itself by its name. Of several stages of a kind the nearest counts, as in `casl tune
    warmup.threshold`. Data sets are left out: MLflow has a column for them.
    """
    flat: dict[str, str] = {}
    for each in list(ancestors(stage))[-2::-1]:
        if each.of_method and each.kind != stage.kind and each.kind not in flat:
            flat |= {each.kind: each.name, **_under(each.kind, _fields(each))}
    own = _fields(stage)
    flat |= own
    named = _under(stage.kind, own) | flat
    for alias, target in ALIASES.items():  # delta, which says nothing where labels are the truth
        if target in named and named.get(f"{target.partition('.')[0]}.labels") == "pseudo":
            flat[alias] = named[target]
    return {legal(name): _short(value, PARAM_LENGTH) for name, value in flat.items()}


def _under(kind: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {f"{kind}.{name}": value for name, value in fields.items()}


def _fields(stage: Stage) -> dict[str, str]:
    iters = {"iters": str(stage.iters)} if isinstance(stage, Train) else {}
    return {**iters, **dict(_flatten("", stage))}


def _flatten(prefix: str, value: Stage | Record) -> Iterable[tuple[str, str]]:
    for field in dataclasses.fields(value):
        item, where = getattr(value, field.name), f"{prefix}{field.name}"
        if isinstance(item, Stage):
            yield where, item.name
        elif isinstance(item, Record):
            yield from _flatten(f"{where}.", item)
        else:
            yield where, _param(item)


def _param(value: object) -> str:
    if isinstance(value, tuple) and not any(isinstance(v, tuple) for v in value):
        return ", ".join(str(v) for v in value)
    return value if isinstance(value, str) else json.dumps(freeze(value))


def _facts(run: Run) -> dict[str, str]:
    known = {
        "casl.name": run.name,
        "casl.key": run.key,
        KIND: run.kind,
        "casl.host": run.host,
        "casl.kernels": run.kernels,
        "casl.seconds": f"{run.seconds:.1f}" if run.status == "done" else "",
        "casl.dirty": ("yes" if run.dirty else "no") if run.commit else "",
        "mlflow.source.name": f"casl {run.kind}",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run.commit,
    }
    versions = {legal(f"casl.version.{package}"): version for package, version in run.versions.items()}
    return {name: value for name, value in (known | versions).items() if value}


def _data_tags(stage: Stage | None) -> dict[str, str]:
    """Content of the data that reached this stage: digest of a folder, key of generated scenes."""
    tags: dict[str, str] = {}
    for data in ancestors(stage) if stage else ():
        if not isinstance(data, DataSet):
            continue
        what, value = data.content
        name = f"casl.data.{what}"
        tags[legal(name)] = f"{tags[name]}, {value}" if name in tags else value
    return tags


def _cells(uses: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Tags that say which places a run feeds: one a table, and all together, each place once."""
    every, tags = _in_order(uses), {legal(table): _places(places) for table, places in uses.items()}
    return {**tags, CELL: _places(every)} if every else tags


def _places(places: Sequence[str]) -> str:
    return _short("; ".join(places), TAG_LENGTH)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 20]} … (cut)"


def _note(run: Run, stage: Stage | None, uses: Mapping[str, Sequence[str]], links: Mapping[str, Address]) -> str:
    parts = [
        _lineage(stage, links),
        (inspect.getdoc(type(stage)) or "").split("\n\n")[0].replace("\n", " ") if stage else "",
        _failure(run),
        _table("Result", _measured(run, stage)),
        _table("Facts", run.facts),
        _inputs(stage, links),
        _uses(uses),
        _files(run),
    ]
    return "\n\n".join(part for part in parts if part)


def _failure(run: Run) -> str:
    if run.status != "failed":
        return ""
    return f"**Failed.** Repeat the command that started it; it resumes.\n\n```\n{_short(run.error, 3000)}\n```"


def _table(head: str, values: Mapping[str, object]) -> str:
    plain = {n: v for n, v in values.items() if isinstance(v, str | int | float)}
    if not plain:
        return ""
    rows = [f"| {n} | {round(v, 2) if isinstance(v, float) else v} |" for n, v in plain.items()]
    return "\n".join([f"| {head} | |", "|---|---|", *rows])


def _lineage(stage: Stage | None, links: Mapping[str, Address]) -> str:
    """One line with everything that led here: MLflow shows the beginning of a note and folds the rest."""
    if stage is None or not links:
        return ""
    words = [f"[{s.brief}]({run_page(links[s.name])})" for s in ancestors(stage) if s.name in links]
    experiment = next(iter(links.values()))[0]
    here = [run for known, run in links.values() if known == experiment]
    return f"{' → '.join(words)} → this · [all of it as a list]({list_page(experiment, here[:MOST_LISTED])})"


def _inputs(stage: Stage | None, links: Mapping[str, Address]) -> str:
    """Everything that led to a stage, last first: what it was made from, then what that was made from."""
    if stage is None or not stage.inputs():
        return ""
    direct = [parent.name for parent in stage.inputs()]
    earlier = [s for s in list(ancestors(stage))[-2::-1] if s.name not in direct]
    lines = ["**Made from**\n", *(_line(parent, links) for parent in stage.inputs())]
    if earlier:
        lines += ["\n**And before that**\n", *(_line(s, links) for s in earlier)]
    return "\n".join(lines)


def _line(stage: Stage, links: Mapping[str, Address]) -> str:
    words = f"[{stage.title}]({run_page(links[stage.name])})" if stage.name in links else stage.title
    return f"- {words} (`{stage.name}`)"


def _uses(uses: Mapping[str, Sequence[str]]) -> str:
    lines = [f"- {table}: {_short('; '.join(places), 1000)}" for table, places in sorted(uses.items())]
    return "\n".join(["**Used by**\n", *lines]) if lines else ""


def _files(run: Run) -> str:
    """Where the store keeps it, and what was not copied into MLflow (weights, pseudo labels)."""
    stay = {n: f for n, f in run.files.items() if n not in ARTIFACTS and not n.startswith(PICTURES)}
    lines = [f"- `{name}` ({_short_size(int(entry['bytes']))})" for name, entry in sorted(stay.items())[:30]]
    if len(stay) > 30:
        lines.append(f"- and {len(stay) - 30} more")
    head = f"**In the store**: `{run.folder}`" + (", not copied here:\n" if lines else "")
    return "\n".join([head, *lines])


def _short_size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
