"""The table of all families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from recon3d_core.data.objects.procedural import (
    airplanes,
    boats,
    cars,
    casework,
    devices,
    household,
    lamps,
    rifles,
    seats,
    tables,
    tools,
    toys,
    vessels,
    wear,
)
from recon3d_core.data.objects.procedural.assembly import Part

Maker = Callable[[np.random.Generator], list[Part]]

_SHAPENET: dict[str, Maker] = {
    'airplane': airplanes.airplane,
    'bench': casework.bench,
    'cabinet': casework.cabinet,
    'car': cars.car,
    'chair': seats.chair,
    'display': devices.display,
    'lamp': lamps.lamp,
    'loudspeaker': devices.loudspeaker,
    'rifle': rifles.rifle,
    'sofa': casework.sofa,
    'table': tables.table,
    'telephone': devices.telephone,
    'watercraft': boats.watercraft,
}
_HOUSEHOLD: dict[str, Maker] = {
    'basket': household.basket,
    'book': household.book,
    'bottle': vessels.bottle,
    'bowl': vessels.bowl,
    'box': household.box,
    'can': household.can,
    'carton': household.carton,
    'cutlery': tools.cutlery,
    'fruit': household.fruit,
    'glass': household.drinking_glass,
    'jar': household.jar,
    'mug': vessels.mug,
    'pan': household.pan,
    'plate': household.plate,
    'shoe': wear.shoe,
    'spoon': tools.spoon,
    'spray_bottle': household.spray_bottle,
    'teapot': household.teapot,
    'tool': tools.tool,
    'toy': toys.toy,
    'toy_animal': toys.toy_animal,
    'vase': household.vase,
}
SHAPENET13 = tuple(_SHAPENET)
HOUSEHOLD = tuple(_HOUSEHOLD)
FAMILIES: dict[str, Maker] = {**_SHAPENET, **_HOUSEHOLD}
