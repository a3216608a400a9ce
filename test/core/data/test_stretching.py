"""Other proportions of training objects."""

from __future__ import annotations

import numpy as np
from recon3d_core.data.stretching import stretch_factors


def test_half_of_the_draws_are_stretched_and_none_is_enlarged():
    rng = np.random.default_rng(0)
    factors = np.array([stretch_factors(rng) for _ in range(400)])
    np.testing.assert_allclose(factors.max(1), 1)
    assert factors.min() >= 1 / 1.4**2
    assert 0.4 < (factors.min(1) < 1).mean() < 0.6
