"""Inverses of affine maps are the same bits wherever an augmentation runs."""

from __future__ import annotations

import numpy as np
import pytest

from casl.data.affine import inverse_of, rotation, shear

# Turned by 19 degrees and sheared by (-24, 18): with OpenBLAS's kernels for AVX-512 and those for other processors
# np.linalg.inv differs in the last place here.
MAPS = {
    "turned": (
        ["0x1.e41b02bfeb4cbp-1", "-0x1.4d61bd000cddcp-2", "0x1.4d61bd000cddcp-2", "0x1.e41b02bfeb4cbp-1"],
        ["0x1.e41b02bfeb4cap-1", "0x1.4d61bd000cddcp-2", "-0x1.4d61bd000cddcp-2", "0x1.e41b02bfeb4cbp-1"],
    ),
    "sheared": (
        ["0x1.0000000000000p+0", "0x1.957d42eef4596p-2", "0x1.3784731d72e36p-2", "0x1.1ed6cf73cb84ap+0"],
        ["0x1.1ed6cf73cb84ap+0", "-0x1.957d42eef4598p-2", "-0x1.3784731d72e37p-2", "0x1.0000000000001p+0"],
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_last_bit_is_always_the_same(name: str) -> None:
    linear, expected = (np.array([float.fromhex(x) for x in values]).reshape(2, 2) for values in MAPS[name])
    assert np.array_equal(inverse_of(linear), expected)


@pytest.mark.parametrize("degrees", [-150, -90, -25, 0, 3, 30, 45, 60, 90, 120, 180])
def test_inverses_are_those_of_lapack_within_rounding(degrees: float) -> None:
    for matrix in (rotation(degrees, 64, 48), shear(degrees / 6, -degrees / 9)):
        linear = matrix[:, :2]
        np.testing.assert_allclose(inverse_of(linear), np.linalg.inv(linear), rtol=0, atol=4e-16)
        np.testing.assert_allclose(inverse_of(linear) @ linear, np.eye(2), rtol=0, atol=4e-16)
