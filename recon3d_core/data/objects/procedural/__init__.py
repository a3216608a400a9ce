"""Objects made by rule: a family for each ShapeNet category of the R2N2 split, and household ones.

An object's name says its category, its split and, hashed, the seed of all that is drawn:
`procedural/chair/000123` is the same object in every process and on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import hashlib

import numpy as np
from recon3d_core.data.objects.base import ObjectModel, ObjectSet, SPLITS, to_cube
from recon3d_core.data.objects.procedural.assembly import join
from recon3d_core.data.objects.procedural.families import FAMILIES, HOUSEHOLD, SHAPENET13
from recon3d_core.errors import InputError
from recon3d_core.registry import closest

__all__ = ['HOUSEHOLD', 'SHAPENET13', 'ProceduralObjects', 'make_object', 'split_of']

DEFAULT_COUNTS = {'train': 400, 'val': 50, 'test': 50}
# The first index of each split: an index belongs to one split whatever the counts are.
FIRST_INDEX = {'train': 0, 'val': 800_000, 'test': 900_000}
LIMITS = {'train': 800_000, 'val': 100_000, 'test': 100_000}
PREFIX = 'procedural'


def split_of(name: str) -> str:
    """Return the split of an object, which its name alone says.

    Raises:
        InputError: It is no name of a procedural object.
    """
    _, index = _parse(name)
    return max((first, split) for split, first in FIRST_INDEX.items() if index >= first)[1]


def make_object(name: str) -> ObjectModel:
    """Make the object of a name, such as `procedural/chair/000123`.

    Raises:
        InputError: It is no name of a procedural object.
    """
    category, _ = _parse(name)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'little')
    mesh, edge_m = to_cube(join(FAMILIES[category](np.random.default_rng(seed))))
    return ObjectModel(name, category, split_of(name), mesh, edge_m)


def _parse(name: str) -> tuple[str, int]:
    prefix, _, rest = name.partition('/')
    category, _, digits = rest.partition('/')
    well_formed = len(digits) == 6 and digits.isascii() and digits.isdigit()
    if prefix != PREFIX or category not in FAMILIES or not well_formed:
        raise InputError(
            'no such procedural object',
            repr(name),
            'procedural/CATEGORY/NNNNNN, six digits',
            closest(category, list(FAMILIES)),
        )
    return category, int(digits)


class ProceduralObjects(ObjectSet):
    """Objects of the procedural families, so many of each category and split."""

    def __init__(
        self,
        categories: Sequence[str] | None = None,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Choose what the set holds.

        Args:
            categories: Of `SHAPENET13` and `HOUSEHOLD`; all where None.
            counts: Objects of each category by split; `DEFAULT_COUNTS` where None, a split that
                is not named has none.

        Raises:
            InputError: A category or split is unknown, or a count is out of range.
        """
        self.categories = tuple(sorted(FAMILIES if categories is None else set(categories)))
        for category in self.categories:
            if category not in FAMILIES:
                known = ', '.join(FAMILIES)
                fix = closest(category, list(FAMILIES))
                raise InputError('unknown category', repr(category), f'of {known}', fix)
        self.counts = dict(DEFAULT_COUNTS if counts is None else counts)
        for split, count in self.counts.items():
            if split not in SPLITS:
                raise InputError('unknown split', repr(split), f'of {", ".join(SPLITS)}')
            if not 0 <= count <= LIMITS[split]:
                raise InputError(f'too many or few in {split}', count, f'0 to {LIMITS[split]}')

    def names(self, split: str) -> list[str]:
        """Return the sorted names of a split.

        Raises:
            InputError: There is no such split.
        """
        if split not in SPLITS:
            raise InputError('unknown split', repr(split), f'of {", ".join(SPLITS)}')
        first = FIRST_INDEX[split]
        return [
            f'{PREFIX}/{category}/{index:06d}'
            for category in self.categories
            for index in range(first, first + self.counts.get(split, 0))
        ]

    def load(self, name: str) -> ObjectModel:
        """Make an object; any name of the families works, whatever the counts are.

        Raises:
            InputError: It is no name of a procedural object.
        """
        return make_object(name)
