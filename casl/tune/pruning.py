"""Which trials to stop at a rung. A verdict depends on what all trials of the cohort, and earlier ones, showed there.

Optuna's pruners judge a trial as it comes; ours see a whole cohort at once, so that neither the order in which stages
end nor a kill between two verdicts changes any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean, median

from casl.spec.search import Trial

PRUNERS = ("none", "median", "halving")
STARTUP = 5  # others needed before a median means something, as in Optuna


def losers(pruner: str, step: int, cohort: Mapping[int, Trial], all_trials: list[Trial]) -> list[int]:
    """Numbers of the trials that go no further.

    Args:
        pruner: "none"; "median", which stops what is below the median of all others at this rung, once there are five;
            "halving", which keeps the better half of the cohort, rounded up.
        cohort: number -> trial, all that came to this rung together, also those whose verdict was carried out already:
            a search that was killed between two verdicts must come to the same ones.
        all_trials: of the study, the cohort included.
    """
    shown = {t.number: fmean(t.rungs[step]) for t in all_trials if step in t.rungs}
    if pruner == "median":
        others = {n: [v for m, v in shown.items() if m != n] for n in cohort}
        return [n for n in cohort if len(others[n]) >= STARTUP and shown[n] < median(others[n])]
    if pruner == "halving":
        best_first = sorted(cohort, key=lambda n: (-shown[n], n))
        return sorted(best_first[math.ceil(len(cohort) / 2) :])
    return []
