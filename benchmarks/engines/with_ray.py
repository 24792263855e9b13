"""Pieces as tasks of Ray Core on a cluster of this machine: python with_ray.py FOLDER PIECES JOBS"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ray
from piece import do_piece


def run(folder: str, pieces: int, jobs: int) -> None:
    """Start the cluster, do all pieces, end it."""
    variables = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    settings = {"include_dashboard": False, "log_to_driver": False, "runtime_env": {"env_vars": variables}}
    ray.init(address="local", num_cpus=jobs, **settings)
    task = ray.remote(do_piece)
    ray.get([task.remote(folder, number) for number in range(pieces)])
    ray.shutdown()


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
