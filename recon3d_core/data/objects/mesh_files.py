"""Mesh files (GLB, glTF, OBJ, PLY, STL) as `ObjectMesh`, through trimesh."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.errors import InputError
import trimesh

SUFFIXES = ('.glb', '.gltf', '.obj', '.ply', '.stl')
UNCOLORED = (180, 180, 180)
"""RGB of meshes without colours."""

MAX_FACES = 2_000_000
_UP = {
    'z': np.eye(3),
    'y': np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),  # glTF: front is +z there, +x here
    'x': np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]]),
}


@dataclasses.dataclass
class _Piece:
    """One geometry of a file, with one material."""

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8]
    uv: NDArray[np.float32] | None = None
    texture: NDArray[np.uint8] | None = None


def load_mesh(path: Path, up: str = 'z') -> ObjectMesh:
    """Read a mesh file; all its geometries become one mesh.

    Args:
        path: File of one of `SUFFIXES`.
        up: Which axis of the file points up, `x`, `y` or `z`; it becomes z.

    Returns:
        The mesh in the units of the file.

    Raises:
        InputError: The file is missing, broken, empty, or of another kind.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f'{path} is no mesh file', path.suffix or 'no ending', ' '.join(SUFFIXES))
    if up not in _UP:
        raise InputError('up axis', repr(up), 'x, y or z')
    if not path.is_file():
        raise InputError(f'{path} cannot be read', 'no such file', 'a mesh file')
    try:
        pieces = _read(path)
    except Exception as error:  # trimesh and PIL raise whatever the bytes lead to
        reason = f'{type(error).__name__} {" ".join(str(error).split())}'[:200]
        raise InputError(f'{path} cannot be read', reason, 'a mesh file') from error
    if not pieces:
        raise InputError(f'{path} has no surface', '0 faces', 'a triangle mesh')
    mesh = _join(pieces, _UP[up])
    if not np.isfinite(mesh.vertices).all() or not np.ptp(mesh.vertices, axis=0).max() > 0:
        raise InputError(f'{path} has no extent', 'points that are equal or not finite')
    if len(mesh.faces) > MAX_FACES:
        raise InputError(f'{path} is too large', f'{len(mesh.faces)} faces', f'<= {MAX_FACES}')
    return mesh


def _read(path: Path) -> list[_Piece]:
    logger = logging.getLogger('trimesh')
    level = logger.level
    logger.setLevel(logging.ERROR)  # its warnings name no file; what matters is an error below
    try:
        scene = trimesh.load(path, force='scene', process=False)
    finally:
        logger.setLevel(level)
    pieces = []
    for node in sorted(scene.graph.nodes_geometry):
        transform, name = scene.graph[node]
        geometry = scene.geometry[name]
        if isinstance(geometry, trimesh.Trimesh) and len(geometry.faces):
            pieces.append(_piece(geometry, np.asarray(transform)))
    return pieces


def _piece(geometry: Any, transform: NDArray[np.float64]) -> _Piece:
    vertices = geometry.vertices @ transform[:3, :3].T + transform[:3, 3]
    faces = np.asarray(geometry.faces, np.int32)
    if np.linalg.det(transform[:3, :3]) < 0:
        faces = faces[:, ::-1]
    visual = geometry.visual
    uv = getattr(visual, 'uv', None)
    material = getattr(visual, 'material', None)
    base = np.broadcast_to(_base_color(material), (len(vertices), 3))
    piece = _Piece(vertices.astype(np.float32), faces, np.array(base))
    image = _image(material)
    if image is not None and uv is not None and len(uv) == len(vertices):
        piece.uv = np.asarray(uv, np.float32)[faces]
        piece.texture = image
    elif visual.kind == 'vertex':
        piece.colors = np.asarray(visual.vertex_colors, np.uint8)[:, :3]
    elif visual.kind == 'face':
        # A face's colour needs corners of its own.
        piece.vertices = piece.vertices[faces.ravel()]
        piece.colors = np.repeat(np.asarray(visual.face_colors, np.uint8)[:, :3], 3, 0)
        piece.faces = np.arange(faces.size, dtype=np.int32).reshape(-1, 3)
    return piece


def _base_color(material: Any) -> NDArray[np.uint8]:
    for key in ('baseColorFactor', 'diffuse'):
        value = getattr(material, key, None)
        if value is not None:
            color = np.asarray(value, np.float64)[:3]
            scale = 1 if np.asarray(value).dtype.kind in 'iu' else 255
            return np.clip(color * scale + 0.5, 0, 255).astype(np.uint8)
    image = _raw_image(material)
    return np.array((255, 255, 255) if image is not None else UNCOLORED, np.uint8)


def _raw_image(material: Any) -> Any:
    for key in ('baseColorTexture', 'image'):
        image = getattr(material, key, None)
        if image is not None:
            return image
    return None


def _image(material: Any) -> NDArray[np.uint8] | None:
    """Return a material's texture (h, w, 3) with its base colour multiplied in."""
    image = _raw_image(material)
    if image is None:
        return None
    rgb = np.asarray(image.convert('RGB'))
    factor = _base_color(material).astype(np.float32) / 255
    if getattr(material, 'baseColorFactor', None) is None or (factor == 1).all():
        return rgb
    return (rgb * factor + 0.5).astype(np.uint8)


def _join(pieces: list[_Piece], rotation: NDArray[np.float64]) -> ObjectMesh:
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces[:-1]])
    vertices = np.concatenate([piece.vertices for piece in pieces])
    textures: dict[bytes, tuple[int, NDArray[np.uint8]]] = {}
    uv, index = [], []
    for piece in pieces:
        number = -1
        if piece.texture is not None:
            key = piece.texture.tobytes()
            number = textures.setdefault(key, (len(textures), piece.texture))[0]
        shape = (len(piece.faces), 3, 2)
        uv.append(np.zeros(shape, np.float32) if piece.uv is None else piece.uv)
        index.append(np.full(len(piece.faces), number, np.int32))
    return ObjectMesh(
        vertices=np.ascontiguousarray(vertices @ rotation.T, np.float32),
        faces=np.concatenate([p.faces + start for p, start in zip(pieces, starts)]).astype('i4'),
        colors=np.concatenate([piece.colors for piece in pieces]),
        uv=np.concatenate(uv) if textures else None,
        textures=tuple(image for _, image in textures.values()),
        face_texture=np.concatenate(index) if textures else None,
    )
