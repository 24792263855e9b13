"""Addresses inside MLflow's pages, relative to a server's root, so that they work on any server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote, urlencode

from casl.tracking.server import TRAINING_MODE

Address = tuple[str, str]  # experiment id, run id
START = "attributes.start_time"


def run_page(address: Address) -> str:
    """Address of one run."""
    experiment, run = address
    return f"#/experiments/{experiment}/runs/{run}{TRAINING_MODE}"


def experiment_page(experiment: str) -> str:
    """Address of all runs of an experiment, under its description."""
    return f"#/experiments/{experiment}/runs{TRAINING_MODE}"


def search_page(experiment: str, where: str, order: str = START, *, ascending: bool = True) -> str:
    """Address of the runs that a filter finds, in order.

    Args:
        where: in MLflow's language of filters, as its field of search takes it.
        order: an attribute or a metric, as in filters.
    """
    wanted = {"searchFilter": where, "orderByKey": order, "orderByAsc": "true" if ascending else "false"}
    return f"{experiment_page(experiment)}&{urlencode(wanted, quote_via=quote)}"


def view_page(experiment: str, key: str) -> str:
    """Address of the runs of an experiment in a view that is kept there; MLflow takes nothing else from such one."""
    return f"{experiment_page(experiment)}&viewStateShareKey={key}"


def list_page(experiment: str, runs: Sequence[str]) -> str:
    """Address of a list of given runs, oldest first. runs: at least one id."""
    names = ",".join(f"'{run}'" for run in runs)
    return search_page(experiment, f"attributes.run_id IN ({names})")


def compare_page(addresses: Sequence[Address]) -> str:
    """Address of a comparison: parameters that differ, figures, curves."""
    runs = json.dumps([run for _, run in addresses])
    experiments = json.dumps(sorted({experiment for experiment, _ in addresses}))
    asked = urlencode({"runs": runs, "experiments": experiments}, quote_via=quote)  # MLflow finds runs in front only
    return f"#/compare-runs?{asked}&{TRAINING_MODE[1:]}"


def model_page(name: str) -> str:
    """Address of a registered model."""
    return f"#/models/{quote(name)}{TRAINING_MODE}"
