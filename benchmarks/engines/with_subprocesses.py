"""One new process a piece, so many at once: python with_subprocesses.py FOLDER PIECES JOBS"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PIECE = Path(__file__).with_name("piece.py")


def run(folder: str, pieces: int, jobs: int) -> None:
    """Start them all, wait for them all."""

    def start(number: int) -> None:
        subprocess.run([sys.executable, str(PIECE), folder, str(number)], check=True, start_new_session=True)

    with ThreadPoolExecutor(jobs) as threads:
        list(threads.map(start, range(pieces)))


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
