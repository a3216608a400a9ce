"""The table of all families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from recon3d_core.data.objects.procedural import seats, tables, vessels
from recon3d_core.data.objects.procedural.assembly import Part

Maker = Callable[[np.random.Generator], list[Part]]

_SHAPENET: dict[str, Maker] = {
    'chair': seats.chair,
    'table': tables.table,
}
_HOUSEHOLD: dict[str, Maker] = {
    'bottle': vessels.bottle,
    'bowl': vessels.bowl,
    'mug': vessels.mug,
}
SHAPENET13 = tuple(_SHAPENET)
HOUSEHOLD = tuple(_HOUSEHOLD)
FAMILIES: dict[str, Maker] = {**_SHAPENET, **_HOUSEHOLD}
