"""From the parts of a family to one coloured mesh."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.objects.procedural import shapes
from recon3d_core.data.objects.procedural.paints import Paint
from recon3d_core.types import Mesh

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Part:
    """Solids of one name and look.

    Attributes:
        name: What it is, such as `leg`.
        paint: Its look.
        solids: Closed meshes in the object's frame, metres, z up, front to +x.
    """

    name: str
    paint: Paint
    solids: Sequence[Mesh]


def join(parts: Sequence[Part]) -> ObjectMesh:
    """Return all parts as one mesh; solids may overlap, each stays closed.

    Vertices have the main colour of their part; where it has a pattern, texture coordinates and
    pictures are given too.
    """
    names = tuple(dict.fromkeys(part.name for part in parts if part.solids))
    paints = list(dict.fromkeys(part.paint for part in parts if part.paint.pattern != 'plain'))
    vertices, faces, colors, uv, face_texture, face_part = [], [], [], [], [], []
    start = 0
    for part in parts:
        texture = paints.index(part.paint) if part.paint.pattern != 'plain' else -1
        for mesh in part.solids:
            count = len(mesh.faces)
            vertices.append(mesh.vertices_m)
            faces.append(mesh.faces + start)
            colors.append(np.full((len(mesh.vertices_m), 3), part.paint.color, np.uint8))
            uv.append(
                _map(mesh, part.paint.mapping)
                if texture >= 0
                else np.zeros((count, 3, 2), np.float32)
            )
            face_texture.append(np.full(count, texture, np.int32))
            face_part.append(np.full(count, names.index(part.name), np.int32))
            start += len(mesh.vertices_m)
    return ObjectMesh(
        np.concatenate(vertices),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(colors),
        np.concatenate(uv) if paints else None,
        tuple(paint.texture() for paint in paints),
        np.concatenate(face_texture) if paints else None,
        np.concatenate(face_part),
        names,
    )


def _map(mesh: Mesh, mapping: str) -> Floats:
    """Return texture coordinates (F, 3, 2) of a solid, origin lower left."""
    low, high = mesh.vertices_m.min(0), mesh.vertices_m.max(0)
    size = np.maximum(high - low, 1e-6)
    corners = mesh.vertices_m[mesh.faces]
    normal = shapes.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if mapping == 'around':
        return _around(corners, normal, low, size)
    side = np.abs(normal).argmax(1)
    scaled = (corners - low) / (size if mapping == 'fit' else size.max())
    # Seen from outside with z up; `box` lays the grain along the longest edge.
    first, second = np.array((1, 0, 0))[side], np.array((2, 2, 1))[side]
    if mapping == 'box':
        swap = size[second] > size[first]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
    rows = np.arange(len(corners))
    uv = np.stack([scaled[rows, :, first], scaled[rows, :, second]], -1)
    if mapping == 'fit':
        sign = np.sign(normal[rows, side]) * np.array((1, -1, 1))[side]
        # A top is read from the front (+x), its upper edge away from the reader.
        top = side == 2
        uv[top] = np.stack([scaled[top, :, 1], 1 - scaled[top, :, 0]], -1)
        uv[(sign < 0) & ~top, :, 0] = 1 - uv[(sign < 0) & ~top, :, 0]
    return np.asarray(uv, np.float32)


def _around(corners: Floats, normal: shapes.Array, low: Floats, size: Floats) -> Floats:
    """Roll a picture once around the upright axis through the solid's middle."""
    away = corners - (low + size / 2)
    angle = np.arctan2(away[..., 1], away[..., 0]) / (2 * np.pi)
    # Corners of one face lie on one side of the seam.
    angle -= np.round(angle - angle[:, :1])
    angle = np.clip(angle + 0.5, 0, 1)
    uv = np.stack([angle, (corners[..., 2] - low[2]) / size[2]], -1)
    flat = np.abs(normal[:, 2]) > 0.9 * np.linalg.norm(normal, axis=1)
    uv[flat] = uv[flat].mean(1, keepdims=True)
    return np.asarray(uv, np.float32)
