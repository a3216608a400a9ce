"""Colours of the page, and the triangles that carry them."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray
from recon3d_core.types import Mesh
import trimesh

PHOTO = 'as photographed'
SEEN = 'seen and completed'
MODES = (PHOTO, SEEN)

_GREY = (170, 170, 175)
_SEEN_RGB = (90, 190, 110)
_COMPLETED_RGB = (240, 150, 40)
_GOLDEN_RATIO = 0.6180339887


def solid(mesh: Mesh, mode: str) -> trimesh.Trimesh:
    """Return a mesh with the colours of a mode, as the page sends it.

    Args:
        mesh: Any mesh.
        mode: One of `MODES`. Where it is not known what was seen, colours stay photographed.
    """
    if mode == SEEN and mesh.face_observed is not None:
        # Corners of their own: a vertex between a seen and a completed face has both colours.
        corners = mesh.vertices_m[mesh.faces].reshape(-1, 3)
        table = np.array([_COMPLETED_RGB, _SEEN_RGB], np.uint8)
        colors = _linear(np.repeat(table[mesh.face_observed.astype(np.intp)], 3, axis=0))
        faces = np.arange(len(corners)).reshape(-1, 3)
        normals = _vertex_normals(mesh)[mesh.faces].reshape(-1, 3)
        return trimesh.Trimesh(
            corners, faces, vertex_colors=colors, vertex_normals=normals, process=False
        )
    colors = _linear(_photographed(mesh))
    return trimesh.Trimesh(mesh.vertices_m, mesh.faces, vertex_colors=colors, process=False)


def _photographed(mesh: Mesh) -> NDArray[np.uint8]:
    if mesh.colors is not None:
        return mesh.colors
    return np.full((len(mesh.vertices_m), 3), _GREY, np.uint8)


def _linear(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return sRGB colours as linear ones, which glTF takes the colours of vertices for."""
    share = np.arange(256) / 255
    table = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.rint(255 * table).astype(np.uint8)[colors]


def _vertex_normals(mesh: Mesh) -> NDArray[np.float64]:
    plain = trimesh.Trimesh(mesh.vertices_m, mesh.faces, process=False)
    return np.asarray(plain.vertex_normals, np.float64)


def object_rgb(object_id: int) -> tuple[int, int, int]:
    """Return a colour that neighbouring ids do not share."""
    red, green, blue = colorsys.hsv_to_rgb(object_id * _GOLDEN_RATIO % 1.0, 0.8, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
