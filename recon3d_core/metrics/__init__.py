"""How good a result is, against ground truth; docs/equations.md lists the equations."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from recon3d_core.metrics.occupancy import (
        average_precision,
        cross_entropy,
        iou,
        mean_average_precision,
    )
    from recon3d_core.metrics.points import chamfer, emd, fscore, mse, normal_consistency
    from recon3d_core.metrics.volumes import surface_scores, SurfaceScores

__all__ = [
    'SurfaceScores',
    'average_precision',
    'chamfer',
    'cross_entropy',
    'emd',
    'fscore',
    'iou',
    'mean_average_precision',
    'mse',
    'normal_consistency',
    'surface_scores',
]

_MODULES = {
    'occupancy': ('average_precision', 'cross_entropy', 'iou', 'mean_average_precision'),
    'points': ('chamfer', 'emd', 'fscore', 'mse', 'normal_consistency'),
    'volumes': ('SurfaceScores', 'surface_scores'),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a metric when it is asked for: the pipeline's own ones do without torch."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f'recon3d_core.metrics.{_HOMES[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
