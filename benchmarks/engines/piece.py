"""The work all engines do: two scenes of the built-in data set, about 50 ms of one core, without torch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

IMAGES, SIZE = 2, 256


def do_piece(folder: str, number: int) -> tuple[float, float]:
    """Write the scenes of one seed into `folder/number`; seconds by the wall, and of the processor."""
    from casl.data.scenes import write_scenes

    wall, own = time.perf_counter(), time.process_time()
    write_scenes(Path(folder) / str(number), "val", IMAGES, SIZE, number)
    return time.perf_counter() - wall, time.process_time() - own


if __name__ == "__main__":  # one piece a process: python piece.py FOLDER NUMBER
    do_piece(sys.argv[1], int(sys.argv[2]))
