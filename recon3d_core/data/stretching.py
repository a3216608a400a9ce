"""Other proportions of the objects that are trained on, so that these are not learned by heart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STRETCHED, _MOST = 0.5, 1.4


def stretch_factors(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return factors (3,) of the axes, of which the longest one is 1; for half of the draws all."""
    if rng.random() >= _STRETCHED:
        return np.ones(3)
    factors = np.exp(rng.uniform(-np.log(_MOST), np.log(_MOST), 3))
    return np.asarray(factors / factors.max())
