"""Law files of the same runs, made on different machines."""

import math

# The descent that gave Table A9 stops halfway along a flat valley: losses changed in their last bit
# move its A by up to 2 %, and so may another processor
TOLERANCES = {"early_descent": 3e-2}


def assert_alike(shipped, ours, where, tolerance=1e-3):
    """Equal, numbers to 1 in 1000: resamples follow the last bit of the linear algebra library.

    Below a key of TOLERANCES its own number holds.
    """
    if isinstance(shipped, dict):
        assert shipped.keys() == ours.keys(), where
        for key in shipped.keys() - {"data", "version", "warnings"}:
            below = TOLERANCES.get(key, tolerance)
            assert_alike(shipped[key], ours[key], f"{where} {key}", below)
    elif isinstance(shipped, list):
        assert len(shipped) == len(ours), where
        for i, (a, b) in enumerate(zip(shipped, ours, strict=True)):
            assert_alike(a, b, f"{where} {i}", tolerance)
    elif isinstance(shipped, float) and isinstance(ours, float):
        assert math.isclose(shipped, ours, rel_tol=tolerance, abs_tol=1e-9), (where, shipped, ours)
    else:
        assert shipped == ours, where
