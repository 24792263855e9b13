"""Twenty iterations of each detector under strong augmentation, by the bit.

A test that fails here says that this processor computes other bits than the one that made the record, or that a change
moved numbers. See `bits.py` for how the record is made anew, and when that is right.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from casl import catalog
from casl.runner import bits
from tests.golden.bits import BITS, CASES, NAMES, OURS, Hashes, in_own_process, versions

EMULATED = ("Haswell", "EPYC")  # of Intel and AMD, both with AVX2 and without AVX-512
QEMU = "qemu-x86_64"
STOP = 3  # an iteration takes an emulator seconds


@pytest.fixture(scope="module")
def golden() -> Hashes:
    """The record, if it is of what is installed here."""
    if lack := bits.lacking():
        pytest.skip(lack)
    record: dict[str, Any] = json.loads(BITS.read_text())
    if record["versions"] != (here := versions()):
        pytest.skip(f"bits are recorded for {record['versions']}, and here are {here}")
    found: Hashes = record["hashes"]
    return found


@pytest.fixture(scope="module")
def here(golden: Hashes) -> Hashes:
    return in_own_process()


@pytest.mark.parametrize("case", NAMES)
def test_twenty_iterations_of_a_detector_have_the_recorded_bits(case: str, golden: Hashes, here: Hashes) -> None:
    """What differs first says where to look: the state after one iteration, later ones, or predictions alone."""
    assert here[case] == golden[case]


def test_every_detector_of_ours_is_recorded() -> None:
    assert {case.detector for case in CASES.values()} == set(OURS)
    assert {name for name in catalog.DETECTORS if name not in OURS} == {n for n in catalog.DETECTORS if n[:3] == "d2_"}
    assert json.loads(BITS.read_text())["hashes"].keys() == set(NAMES)


@pytest.mark.qemu
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("cpu", EMULATED)
def test_an_emulated_processor_computes_the_recorded_bits(cpu: str, case: str, golden: Hashes) -> None:
    if not shutil.which(QEMU):
        pytest.skip(f"needs {QEMU}: apt-get install qemu-user")
    found = in_own_process([case], STOP, before=(QEMU, "-cpu", cpu))[case]
    assert f"after {STOP}" in " ".join(found)
    assert found == {what: golden[case][what] for what in found}
