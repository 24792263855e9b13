"""Launcher `ray`: one Ray task a stage, on a cluster that is there already.

A task is given the path of a job and starts the shepherd on its node, as every launcher does. Events come back through
a file in the store, so the store must be a folder that all nodes have under the same path, and casl be installed there.
Ray ends all tasks of a driver that dies; their shepherds save checkpoints, and any launcher goes on from there.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from casl.errors import SpecError
from casl.files import write_json
from casl.runner.job import ONE_THREAD, Job, Resources
from casl.runner.launch.eventlog import EventLog
from casl.runner.store import Store

RETRIES = 2  # attempts that Ray makes on its own after a node or a process of its own was lost
LOOK_S = 0.1
OPTIONS = {"address": "auto"}


@dataclass
class _Task:
    """A stage that was submitted to Ray."""

    name: str
    log: EventLog


class Ray:
    """Hands stages to Ray, as many as its nodes have room for.

    Args:
        store: on a folder that all nodes have.
        resources: `ranks` GPUs a stage, or cores with device "cpu"; option "ray.address": of the cluster, "auto" for
            the one this machine belongs to, "local" to start one here.

    Raises:
        SpecError: Ray is not installed, or there is no cluster.
    """

    ahead = False
    here = False

    def __init__(self, store: Store, resources: Resources | None = None) -> None:
        self.store = store
        self.resources = resources or Resources()
        self.folder = store.root.resolve() / "ray" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        address = _options(self.resources)["address"]
        self._ray = _installed()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, address)
        self._on_gpus = "GPU" in self._ray.cluster_resources()
        self.slots = self._fit()
        self._tasks: dict[Any, _Task] = {}
        self._count = 0

    def submit(self, job: Job) -> None:
        """Give a stage to Ray; it starts where there is room.

        Raises:
            SpecError: a stage of several nodes.
        """
        if job.placement.nodes > 1:
            raise SpecError("--nodes: launcher 'ray' runs a stage on one node; 'slurm' runs it on several")
        name = job.stage.name
        self._on_gpus = self._on_gpus and job.placement.device != "cpu"
        self._count += 1
        file, log = (self.folder / f"{name}.{self._count}.{end}" for end in ("json", "out"))
        write_json(file, {"job": job.to_json()})
        task = self._ray.remote(carry).options(name=name, max_retries=RETRIES, **self._room(job.placement.ranks))
        paths = (str(self.store.root.resolve()), str(file), str(log))
        reference = task.remote(*paths, json.dumps({**ONE_THREAD, **self.resources.environment}))
        self._tasks[reference] = _Task(name, EventLog(log))

    def poll(self, timeout_s: float) -> list[dict[str, Any]]:
        """Events since the last call: "progress", how a job ended, or "lost" when Ray has given it up."""
        if not self._tasks:
            time.sleep(timeout_s)
            return []
        waiting = list(self._tasks)
        self._ray.wait(waiting, num_returns=1, timeout=timeout_s)
        ended, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        events = [event for task in self._tasks.values() for event in task.log.news()]
        self.slots = self._fit()
        return events + [{"name": self._tasks.pop(r).name, **self._ending(r)} for r in ended]

    def stop(self) -> None:
        """Ask running stages to save where they are and stop; those that wait for room do not start."""
        for reference in self._tasks:
            self._ray.cancel(reference, force=False)

    def close(self) -> None:
        """End everything of this run; the cluster stays, unless it was started for this run."""
        for reference in self._tasks:
            with contextlib.suppress(Exception):  # it ended, or its node is gone: nothing is left to end
                self._ray.cancel(reference, force=True)
        self._tasks.clear()
        if self._is_ours:
            self._ray.shutdown()

    def _fit(self) -> int:
        """Stages there is room for on the nodes of now; `--jobs` says otherwise, for a cluster that grows on demand."""
        if self.resources.jobs:
            return self.resources.jobs
        there = float(self._ray.cluster_resources().get("GPU" if self._on_gpus else "CPU", 0.0))
        each = self.resources.ranks / (self.resources.per_gpu if self._on_gpus else 1)
        return max(1, int(there / each))

    def _room(self, ranks: int) -> dict[str, float]:
        if not self._on_gpus:
            return {"num_cpus": ranks, "num_gpus": 0}
        return {"num_cpus": ranks, "num_gpus": ranks / self.resources.per_gpu}

    def _ending(self, reference: Any) -> dict[str, Any]:
        exceptions = self._ray.exceptions
        try:
            return dict(json.loads(self._ray.get(reference)))
        except (exceptions.TaskCancelledError, KeyboardInterrupt):
            return {"event": "stopped"}
        except exceptions.RayError as error:
            return {"event": "lost", "code": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}


def carry(store: str, file: str, log: str, environment: str) -> str:
    """What runs on a node: a shepherd for one job, which ends with this process.

    Returns:
        How it ended, as JSON of an event.
    """
    command = [sys.executable, "-m", "casl.runner.shepherd", store, "--job", file, str(os.getpid())]
    events = EventLog(Path(log))
    events.news()  # of an attempt that was lost
    with Path(log).open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **json.loads(environment)},
            start_new_session=True,
        )
    try:
        while process.poll() is None:
            time.sleep(LOOK_S)  # not wait(): cancelling raises KeyboardInterrupt between two instructions of Python
    except BaseException:
        process.terminate()
        process.wait()
        raise
    events.news()
    return json.dumps(
        events.ending or {"event": "lost", "code": f"its shepherd ended with {process.returncode}: {log}"}
    )


def _options(resources: Resources) -> Mapping[str, str]:
    given = resources.own("ray", OPTIONS)
    if resources.gpus is not None:
        raise SpecError("--gpus chooses GPUs of one machine; Ray gives each stage its own")
    if resources.per_gpu > 1 and resources.ranks > 1:
        raise SpecError("--per-gpu and --gpus-per-stage: several stages share a GPU, or a stage has several, not both")
    return {**OPTIONS, **given}


def _installed() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise SpecError(
            "launcher 'ray' needs Ray: pip install 'casl[ray]', on this machine and on all nodes"
        ) from error


def _connect(ray: Any, address: str) -> None:
    more = {"include_dashboard": False} if address == "local" else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **more)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SpecError(
            f"no Ray cluster at {address!r}: {str(error).strip().splitlines()[0]}\n"
            "  start one: ray start --head     on the first machine, and what it prints on the others;\n"
            "  --option ray.address=HOST:PORT names it, --option ray.address=local starts one on this machine."
        ) from error
