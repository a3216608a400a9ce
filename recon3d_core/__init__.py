"""Image-based 3-D reconstruction of scenes and objects, without ROS."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from recon3d_core.data import load_source
    from recon3d_core.scene.pipeline import Pipeline

__all__ = ['Pipeline', 'load_source']

_HOMES = {'Pipeline': 'recon3d_core.scene.pipeline', 'load_source': 'recon3d_core.data'}


def __getattr__(name: str) -> Any:
    """Import the two entry points when they are asked for: they bring Open3D along."""
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
