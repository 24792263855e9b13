"""What people see while a plan runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from casl.runner.cost import Estimate, duration, estimate
from casl.runner.job import LOG
from casl.runner.plan import Plan
from casl.runner.remaining import Left, Remaining
from casl.runner.schedule import rough_iters
from casl.runner.store import Store
from casl.words import number_of

LINE_S = 5.0  # a plain progress line at most this often
WORDS = 56  # letters of a title
BAR = 16  # letters of a bar


class View:
    """Progress of a plan: stages, iterations a second, loss, time left.

    Args:
        expected: of every stage, from results in the store; made if not given.
    """

    def __init__(self, plan: Plan, store: Store, expected: Estimate | None = None) -> None:
        self.store = store
        self.titles = {n: _shortened(plan.nodes[n].stage.title) for n in plan.todo}
        expected = expected or estimate(plan, store)
        self.remaining = Remaining(plan, expected)
        # shares of the whole do not change while it runs: seconds where all are known, else iterations stand for them
        known = "unknown" not in expected.counts
        self.cost = {n: max(expected.seconds[n], 1e-3) if known else rough_iters(plan.nodes[n]) for n in plan.todo}
        self.total = sum(self.cost.values())
        self.finished_stages = 0
        self.spent = 0.0
        self.running: dict[str, Mapping[str, Any]] = {}
        self._said = 0.0
        self._live: Live | None = None

    def __enter__(self) -> View:
        console = Console()  # without colour where NO_COLOR is set
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(console=console, refresh_per_second=4, transient=True, get_renderable=self._picture)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def started(self, name: str) -> None:
        self.running[name] = {}

    def progress(self, event: Mapping[str, Any]) -> None:
        self.running[event["name"]] = event
        if self._live is None and time.monotonic() - self._said > LINE_S:
            self._said = time.monotonic()
            print("\n".join(self._lines()), flush=True)

    def finished(self, name: str, status: str, error: str) -> None:
        self.running.pop(name, None)
        if status == "again":
            return
        self.remaining.ended(name, self.store.run(name).seconds if status == "done" else 0.0)
        self.finished_stages += 1
        self.spent += self.cost.get(name, 0.0)
        if status == "done" and self._live is not None:
            return
        text = f"{self._head()}  {status:7} {name}  {self.titles.get(name, '')}".rstrip()
        if error:
            text += f": {error}"
        if status == "failed":
            text += f"\n  log: {self.store.work(name) / LOG}"
        (self._live.console.print if self._live else print)(text)

    def _share(self) -> float:
        """How much of the whole is done, in [0, 1]."""
        partly = sum(e["done"] / max(e["total"], 1) * self.cost.get(n, 0.0) for n, e in self.running.items() if e)
        return min(1.0, (self.spent + partly) / self.total) if self.total else 1.0

    def _head(self) -> str:
        left = self.remaining.left(dict(self.running))  # the terminal is drawn by another thread
        return f"[{self.finished_stages}/{number_of(len(self.cost), 'stage')}, {self._share():4.0%}, {_left(left)}]"

    def _lines(self) -> list[str]:
        return [self._head(), *(f"    {n}  {_describe(self.titles.get(n, ''), e)}" for n, e in self.running.items())]

    def _picture(self) -> Group:
        lines = [Text.assemble((f"{_bar(self._share())} ", "green"), (self._head(), "bold"))]
        for name, event in self.running.items():
            share = event["done"] / max(event["total"], 1) if event else 0.0
            lines.append(Text.assemble((f"  {_bar(share)} ", "cyan"), _describe(self.titles.get(name, name), event)))
        return Group(*lines)


def _left(left: Left) -> str:
    """What is left, in words: never a time as if it were that of stages whose length is not known."""
    if not left.unknown:
        return f"about {duration(left.seconds)} left"
    unknown = f"{number_of(left.unknown, 'stage')} of unknown length"
    return f"{unknown} left" if left.seconds < 1 else f"{unknown} left and {duration(left.seconds)} of others"


def _shortened(title: str) -> str:
    """A title that leaves room on a line; its end tells least."""
    return title if len(title) <= WORDS else f"{title[: WORDS - 1]}…"


def _bar(share: float) -> str:
    """How much is done, as a bar. share: in [0, 1]."""
    full = round(min(1.0, share) * BAR)
    return "█" * full + "░" * (BAR - full)


def _describe(name: str, event: Mapping[str, Any]) -> str:
    if not event:
        return f"{name}  starting"
    loss = f"  loss {event['loss']:.3f}" if event.get("loss") is not None else ""
    return f"{name}  {event['done']}/{event['total']}  {event['rate']:.1f}/s{loss}"
