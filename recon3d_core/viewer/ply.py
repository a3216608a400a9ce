"""Reading of the binary PLY meshes that a run writes, with the faces that a camera saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from recon3d_core.errors import SourceError
from recon3d_core.types import Mesh
import trimesh


def read_mesh(path: Path) -> Mesh:
    """Return a mesh with its colours and, where the file tells, which faces were observed.

    Raises:
        SourceError: The file is missing or is no triangle mesh.
    """
    try:
        loaded: Any = trimesh.load(path, file_type='ply', process=False, force='mesh')
        vertices = np.asarray(loaded.vertices, np.float32).reshape(-1, 3)
        faces = np.asarray(loaded.faces, np.int32).reshape(-1, 3)
        raw = loaded.metadata.get('_ply_raw', {})  # absent of an empty mesh
        observed = raw.get('face', {}).get('data')
    except Exception as error:
        raise SourceError(
            f'{path} cannot be read', f'{type(error).__name__}: {error}', 'a PLY mesh'
        ) from error
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise SourceError(f'{path} is broken', 'faces of vertices that are not there', 'a mesh')
    return Mesh(vertices, faces, _colors(loaded), _observed(observed, len(faces)))


def _colors(loaded: Any) -> Any:
    if loaded.visual.kind != 'vertex' or not len(loaded.vertices):
        return None
    return np.asarray(loaded.visual.vertex_colors, np.uint8)[:, :3]


def _observed(table: Any, count: int) -> Any:
    names = getattr(getattr(table, 'dtype', None), 'names', None) or ()
    if 'observed' not in names or len(table) != count:
        return None
    return np.asarray(table['observed']).reshape(-1) > 0
