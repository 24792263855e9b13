"""What people see while a plan runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from casl.runner.job import LOG
from casl.runner.plan import Plan
from casl.runner.schedule import rough_iters
from casl.runner.store import Store

LINE_S = 5.0  # a plain progress line at most this often


class View:
    """Progress of a plan: stages, iterations a second, loss, time left.

    The time left assumes that the rest goes as fast as what was done so far in this call.

    Args:
        seconds: expected of every stage, where measured rates tell; otherwise iterations stand for them.
    """

    def __init__(self, plan: Plan, store: Store, seconds: Mapping[str, float] | None = None) -> None:
        self.store = store
        iterations = {n: rough_iters(plan.nodes[n]) for n in plan.todo}
        self.cost = {n: max(seconds[n], 1e-3) for n in plan.todo} if seconds else iterations
        self.total = sum(self.cost.values())
        self.finished_stages = 0
        self.spent = 0.0
        self.running: dict[str, Mapping[str, Any]] = {}
        self.began = time.monotonic()
        self._said = 0.0
        self._live: Live | None = None

    def __enter__(self) -> View:
        if sys.stdout.isatty():
            self._live = Live(console=Console(), refresh_per_second=4, transient=True, get_renderable=self._picture)
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
        self.finished_stages += 1
        self.spent += self.cost.get(name, 0.0)
        if status == "done" and self._live is not None:
            return
        text = f"{self._head()}  {status:7} {name}"
        if error:
            text += f": {error}"
        if status == "failed":
            text += f"\n  log: {self.store.work(name) / LOG}"
        (self._live.console.print if self._live else print)(text)

    def _head(self) -> str:
        partly = sum(e["done"] / max(e["total"], 1) * self.cost.get(n, 0.0) for n, e in self.running.items() if e)
        share = (self.spent + partly) / self.total if self.total else 1.0
        elapsed = time.monotonic() - self.began
        left = f"{_minutes(elapsed / share * (1 - share))} left" if share > 0.01 else "estimating time left"
        return f"[{self.finished_stages}/{len(self.cost)} stages, {share:4.0%}, {left}]"

    def _lines(self) -> list[str]:
        return [self._head(), *(f"    {_describe(n, e)}" for n, e in self.running.items())]

    def _picture(self) -> Group:
        return Group(*(Text(line) for line in self._lines()))


def _describe(name: str, event: Mapping[str, Any]) -> str:
    if not event:
        return f"{name}  starting"
    loss = f"  loss {event['loss']:.3f}" if event.get("loss") is not None else ""
    return f"{name}  {event['done']}/{event['total']}  {event['rate']:.1f}/s{loss}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
