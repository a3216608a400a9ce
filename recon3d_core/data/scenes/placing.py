"""Putting objects on a support one by one: apart, against one another, or on top."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scenes.heights import Footprint, footprint, HeightMap
from recon3d_core.data.scenes.library import BULKY, Item
from recon3d_core.data.scenes.resting import draw_resting
from recon3d_core.geometry.transforms import make_transform

Array = NDArray[np.float64]

_CANDIDATES = 24
_UPRIGHT_CHANCE = 0.65


@dataclasses.dataclass(frozen=True)
class Placed:
    """An object in its place.

    Attributes:
        item: The object.
        T_world_object: (4, 4) pose of its origin.
    """

    item: Item
    T_world_object: Array


@dataclasses.dataclass(frozen=True)
class Crowding:
    """How close objects lie.

    Attributes:
        spread_m: Standard deviation of their places about the middle.
        touch: How often one is pushed against another.
        stack: How often one is put on another.
        highest_m: Nothing rises more above the support.
    """

    spread_m: float
    touch: float
    stack: float
    highest_m: float


class Placing:
    """A support that fills up."""

    def __init__(
        self, half_size_m: tuple[float, float], cell_m: float, support_m: float, crowding: Crowding
    ) -> None:
        """Begin with an empty rectangle of these half edges around the origin."""
        self.map = HeightMap(half_size_m, cell_m, support_m)
        self.half_m = np.asarray(half_size_m)
        self.crowding = crowding
        self.placed: list[Placed] = []

    def add(self, item: Item, rng: np.random.Generator) -> bool:
        """Put an object somewhere; return whether there was room."""
        bulky = item.category in BULKY
        for _ in range(4):
            rotation = draw_resting(list(item.poses), 1.0 if bulky else _UPRIGHT_CHANCE, rng)
            vertices = (item.mesh.vertices @ rotation.T.astype(np.float32)).astype(np.float32)
            shape = footprint(vertices, item.mesh.faces, self.map.cell_m)
            found = self._search(shape, rng, may_stack=not bulky)
            if found is None:
                continue
            place, height = found
            if height + vertices[:, 2].max() > self.map.support_m + self.crowding.highest_m:
                continue
            self.map.put(shape, place, height)
            pose = make_transform(rotation, (*place, height))
            self.placed.append(Placed(item, pose))
            return True
        return False

    def _search(
        self, shape: Footprint, rng: np.random.Generator, *, may_stack: bool
    ) -> tuple[Array, float] | None:
        """Return a place (2,) and the height of the origin there, or None."""
        how = rng.random()
        if self.placed and how < self.crowding.stack and may_stack:
            found = self._on_top(shape, rng)
            if found is not None:
                return found
        touch = bool(self.placed) and how < self.crowding.stack + self.crowding.touch
        for place in rng.normal(0, self.crowding.spread_m, (_CANDIDATES, 2)):
            place = self.map.snapped(np.clip(place, -self.half_m, self.half_m))
            if self._free(shape, place):
                if touch:
                    place = self._pushed(shape, place, self._anchor(rng))
                return place, self.map.land(shape, place).height_m
        return None

    def _anchor(self, rng: np.random.Generator) -> Array:
        """Return the place of one of the objects."""
        chosen = self.placed[int(rng.integers(len(self.placed)))]
        return np.asarray(chosen.T_world_object[:2, 3])

    def _free(self, shape: Footprint, place: Array) -> bool:
        landing = self.map.land(shape, place)
        return landing.inside and landing.on_support

    def _pushed(self, shape: Footprint, place: Array, towards: Array) -> Array:
        """Return the last free place on the straight way to another one."""
        way = towards - place
        steps = max(1, int(np.linalg.norm(way) / self.map.cell_m))
        for step in range(1, steps + 1):
            further = self.map.snapped(place + way * (step / steps))
            if not self._free(shape, further):
                return self.map.snapped(place + way * ((step - 1) / steps))
        return place

    def _on_top(self, shape: Footprint, rng: np.random.Generator) -> tuple[Array, float] | None:
        """Return a place on top of an object where another one stays, or None."""
        anchor = self._anchor(rng)
        for offset in rng.normal(0, 0.02, (_CANDIDATES, 2)):
            place = self.map.snapped(anchor + offset)
            landing = self.map.land(shape, place)
            if landing.inside and landing.stable and not landing.on_support:
                return place, landing.height_m
        return None
