"""Square roots, in a process that computes portable bits: MKL's own are not correctly rounded there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import casl
from casl.runner import bits

SCRIPT = """
import json, numpy, torch
from casl.models.exact import square_root
x = torch.rand(4096, generator=torch.Generator().manual_seed(0)) * 3
exact = numpy.sqrt(x.numpy())  # IEEE 754: correctly rounded
wrong = [int((y.numpy() != exact).sum()) for y in (square_root(x), square_root(x.reshape(64, 64).T).T.flatten())]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), wrong]))
"""


@pytest.mark.skipif(bool(bits.lacking()), reason=bits.lacking())
def test_every_square_root_is_the_correctly_rounded_one() -> None:
    around = {**os.environ, **bits.KERNELS}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=around, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["AVX2", [0, 0]]


@pytest.mark.parametrize("room", ["models", "train", "stages", "data"])
def test_nothing_that_is_hashed_takes_a_root_of_torchs_own(room: str) -> None:
    sources = [path for path in sorted((Path(casl.__file__).parent / room).rglob("*.py")) if path.name != "exact.py"]
    assert len(sources) > 5
    taken = [path.name for path in sources if re.search(r"(?<!math)(?<!np)\.sqrt\(", path.read_text())]
    assert taken == (["dense.py"] if room == "models" else []), (
        "casl.models.exact.square_root; of a graph no bit is told"
    )
