"""Household objects in any pose, seen by known cameras, in a cube that nobody placed by hand.

Trained on scanned and modelled objects of the mesh collection and on families made by rule;
judged on those of the collection that are never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import ClassVar

import numpy as np
from recon3d_core.config import option
from recon3d_core.data.objects.base import ObjectModel, ObjectSet
from recon3d_core.data.objects.meshes import ManifestObjects
from recon3d_core.data.objects.procedural import HOUSEHOLD, ProceduralObjects, SHAPENET13
from recon3d_core.data.sets.rendered import RenderedConfig, RenderedSet
from recon3d_core.data.view_sampling import ViewRange

NO_UPRIGHT = ('random',)  # categories that lie as they fell


class HouseholdConfig(RenderedConfig):
    """Options of the household set."""

    household_families: int = option(
        60, 'Training objects of each household family made by rule.', ge=0, le=100_000
    )
    furniture_families: int = option(
        20, 'Training objects of each of the 13 ShapeNet families.', ge=0, le=100_000
    )
    random_shapes: bool = option(True, 'Whether random shapes are among the training objects.')


class MixedObjects(ObjectSet):
    """The mesh collection, and families made by rule in the training split only."""

    def __init__(
        self, meshes: ManifestObjects, families: Sequence[ProceduralObjects], random_shapes: bool
    ) -> None:
        """Join them.

        Args:
            meshes: The collection.
            families: Objects made by rule.
            random_shapes: Whether the collection's random shapes are trained on.
        """
        self.meshes = meshes
        self.families = families
        self.random_shapes = random_shapes

    def names(self, split: str) -> Sequence[str]:
        """Return the sorted names of a split."""
        names = list(self.meshes.names(split))
        if split == 'train':
            if not self.random_shapes:
                names = [name for name in names if self.category(name) not in NO_UPRIGHT]
            names += [name for family in self.families for name in family.names(split)]
        return tuple(sorted(names))

    def category(self, name: str) -> str:
        """Return what an object is, without loading it."""
        if name.startswith('procedural/'):
            return name.split('/')[1]
        return self.meshes.category(name)

    def load(self, name: str) -> ObjectModel:
        """Return an object."""
        made = name.startswith('procedural/')
        return self.families[0].load(name) if made else self.meshes.load(name)


class HouseholdSet(RenderedSet):
    """`household`, or `household:ROOT` with another folder of a `manifest.json`."""

    name: ClassVar[str] = 'household'
    Config: ClassVar[type[HouseholdConfig]] = HouseholdConfig
    canonical: ClassVar[bool] = False
    # A mug a metre away is seven edges of its cube away.
    view_range: ClassVar[ViewRange] = ViewRange(
        elevation=(0.0, float(np.deg2rad(75.0))),
        distance=(1.4, 9.0),
        off_axis=float(np.deg2rad(25.0)),
    )

    @functools.cached_property
    def objects(self) -> MixedObjects:  # type: ignore[override]
        """The objects."""
        families = [
            ProceduralObjects(HOUSEHOLD, {'train': self.config.household_families}),
            ProceduralObjects(SHAPENET13, {'train': self.config.furniture_families}),
        ]
        meshes = ManifestObjects(self.where or None)
        return MixedObjects(meshes, families, self.config.random_shapes)

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted."""
        return self.objects.names(split)

    def category(self, name: str) -> str:
        """Return what an object is, without loading it."""
        return self.objects.category(name)

    @functools.cached_property
    def categories(self) -> tuple[str, ...]:  # type: ignore[override]
        """All categories, sorted."""
        names = [name for split in ('train', 'val', 'test') for name in self.names(split)]
        return tuple(sorted({self.category(name) for name in names}))

    def upright(self, name: str) -> bool:
        """Return whether an object stands on a ground; random shapes lie any way."""
        return self.category(name) not in NO_UPRIGHT
