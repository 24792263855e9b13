"""Suites that need long, root or software of their own run only when they are asked for: `pytest -m stress`."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

# As stages: sums of one thread have one order on any machine; and two threads on two busy cores wait for each other, so
# that a test of seconds takes minutes. Set before torch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)
ON_REQUEST = ("long", "stress", "cluster", "browser", "postgres", "qemu")


@pytest.hookimpl(tryfirst=True)  # before -m leaves out the slow ones, so that the order is one
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with files that have slow tests, so that processes end together; leave out what only -m asks for.

    A name with an address in memory is another in every process, and with several of them nothing would run.
    """
    if named := next((item.nodeid for item in items if " at 0x" in item.nodeid), None):
        raise pytest.UsageError(f"{named}: the name of a test has no address; give parametrize ids")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    asked = str(config.getoption("markexpr"))
    left_out = [i for i in items if any(m in ON_REQUEST and m not in asked for m in (x.name for x in i.iter_markers()))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [i for i in items if i not in left_out]


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A test that leaves another handler of a signal fails, and not the one after it that happens to send it."""
    before = [signal.getsignal(number) for number in HANDLED]
    yield
    left = [number.name for number, handler in zip(HANDLED, before, strict=True) if signal.getsignal(number) != handler]
    for number, handler in zip(HANDLED, before, strict=True):
        signal.signal(number, handler)
    assert not left, f"this test leaves its own handler of {', '.join(left)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end how many tests were skipped, and why; a clone without real data beside it skips dozens."""
    reasons = Counter(
        str(report.longrepr[-1]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple | list)
    )
    if reasons:
        terminalreporter.section(f"{reasons.total()} tests skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:4}  {reason}")
