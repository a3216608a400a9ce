"""The 13 categories of ShapeNet's R2N2 split, made by rule, in one pose per category."""

from __future__ import annotations

from collections.abc import Sequence
import functools
from typing import ClassVar

from recon3d_core.config import option
from recon3d_core.data.objects.procedural import ProceduralObjects, SHAPENET13
from recon3d_core.data.sets.rendered import RenderedConfig, RenderedSet


class ProceduralConfig(RenderedConfig):
    """Options of the procedural set."""

    train_objects: int = option(400, 'Objects of each category to train on.', ge=0, le=100_000)
    val_objects: int = option(50, 'Objects of each category to validate on.', ge=0, le=10_000)
    test_objects: int = option(50, 'Objects of each category to test on.', ge=0, le=10_000)


class ProceduralSet(RenderedSet):
    """`procedural`, or `procedural:chair,table` for some of its categories."""

    name: ClassVar[str] = 'procedural'
    Config: ClassVar[type[ProceduralConfig]] = ProceduralConfig
    canonical: ClassVar[bool] = True

    @functools.cached_property
    def objects(self) -> ProceduralObjects:  # type: ignore[override]
        """The objects."""
        counts = {
            'train': self.config.train_objects,
            'val': self.config.val_objects,
            'test': self.config.test_objects,
        }
        return ProceduralObjects(self.where.split(',') if self.where else SHAPENET13, counts)

    def names(self, split: str) -> Sequence[str]:
        """Return the names of the objects of a split (`train`, `val`, `test`), sorted."""
        return self.objects.names(split)

    def category(self, name: str) -> str:
        """Return what an object is, without making it."""
        return name.split('/')[1] if name.count('/') == 2 else self.objects.load(name).category

    @property
    def categories(self) -> tuple[str, ...]:
        """Return all categories, sorted."""
        return tuple(sorted(self.objects.categories))
