"""Which runs of a store feed which places of tables, over all experiments. No MLflow here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from casl.spec.stage import split_name
from casl.tracking.index import Entry

DATA = "casl.data."  # tags that say which content of which data reached a run
Place = tuple[str, str, str]  # table, place in it, kind of stage
Content = frozenset[tuple[str, str]]


def data_at_places(entries: Mapping[str, Entry]) -> dict[Place, set[Content]]:
    """The data behind every place that some runs feed, by kind of stage."""
    found: dict[Place, set[Content]] = {}
    for name, entry in entries.items():
        for table, places in entry.uses.items():
            for place in places:
                found.setdefault((table, place, split_name(name).kind), set()).add(_content(entry))
    return found


def places_kept(name: str, entry: Entry, taken: Mapping[Place, set[Content]]) -> dict[str, list[str]]:
    """The places of a run, without those that stages of its kind now feed on other data.

    Args:
        taken: from `data_at_places`, of the runs that are asked for.
    """
    kind, content = split_name(name).kind, _content(entry)
    kept = {
        table: [p for p in places if content in taken.get((table, p, kind), {content})]
        for table, places in entry.uses.items()
    }
    return {table: places for table, places in kept.items() if places}


def with_ancestors(entries: Mapping[str, Entry], look: Callable[[str], Entry | None]) -> dict[str, Entry]:
    """Runs of one experiment, and all that they were made from, whichever experiment holds it.

    A training that two data sets share was logged once, in the experiment of the first. The places of such a run are
    limited to those that runs of this experiment feed.

    Args:
        look: the entry of a stage, None if it is not in MLflow.
    """
    own = {(table, place) for e in entries.values() for table, places in e.uses.items() for place in places}
    found, waiting = dict(entries), [name for entry in entries.values() for name in entry.inputs]
    while waiting:
        name = waiting.pop()
        if name in found or (entry := look(name)) is None:
            continue
        shared = {t: [p for p in places if (t, p) in own] for t, places in entry.uses.items()}
        found[name] = replace(entry, uses={t: places for t, places in shared.items() if places})
        waiting += entry.inputs
    return found


def _content(entry: Entry) -> Content:
    return frozenset((name, value) for name, value in entry.tags.items() if name.startswith(DATA))
