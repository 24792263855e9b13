"""Pieces in a pool of warm processes, nothing kept of them: python with_pool.py FOLDER PIECES JOBS

Prints the seconds that the pieces themselves took, by the wall and of the processor, added up: what engines are
compared with. Each process has a session of its own, as casl's and Ray's have: some kernels share processors out by
session.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor

from piece import do_piece


def run(folder: str, pieces: int, jobs: int) -> tuple[float, float]:
    """Seconds of all pieces, by the wall and of the processor, added up."""
    with ProcessPoolExecutor(jobs, initializer=os.setsid) as pool:
        walls, own = zip(*pool.map(do_piece, [folder] * pieces, range(pieces)), strict=True)
    return sum(walls), sum(own)


if __name__ == "__main__":
    print(*run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
