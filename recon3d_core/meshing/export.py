"""Files of meshes and points: binary PLY and GLB, in the world's frame, metres.

Each file is written beside its place and then renamed, so that a reader never sees half of one.
GLB viewers take y for up. The coordinates in the file are the world's nevertheless, without a
turned root node: who loads it gets the coordinates of the PLY and of the summary.
"""

from __future__ import annotations

import os
from pathlib import Path
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import RunError
from recon3d_core.types import Mesh, PointCloud
import trimesh

_POSITION = [('x', '<f4'), ('y', '<f4'), ('z', '<f4')]
_NORMAL = [('nx', '<f4'), ('ny', '<f4'), ('nz', '<f4')]
_COLOR = [('red', 'u1'), ('green', 'u1'), ('blue', 'u1')]
_PLY_TYPES = {'<f4': 'float', 'u1': 'uchar'}


def write_ply(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary PLY.

    Vertices have `red green blue` where the mesh has colours; faces have the property `observed`
    (1 = a camera saw it) where that is known.

    Args:
        path: File to write; its directory is made.
        mesh: Any mesh, possibly empty.

    Raises:
        RunError: The file cannot be written.
    """
    vertices, header = _vertex_table(mesh.vertices_m, None, mesh.colors)
    fields: list[tuple[Any, ...]] = [('count', 'u1'), ('corners', '<i4', (3,))]
    header += [f'element face {len(mesh.faces)}', 'property list uchar int vertex_indices']
    if mesh.face_observed is not None:
        fields.append(('observed', 'u1'))
        header.append('property uchar observed')
    faces = np.empty(len(mesh.faces), fields)
    faces['count'] = 3
    faces['corners'] = mesh.faces
    if mesh.face_observed is not None:
        faces['observed'] = mesh.face_observed
    write_atomically(path, _ply(header, vertices, faces))


def write_points_ply(path: Path, cloud: PointCloud) -> None:
    """Write points as binary PLY, with colours and normals where they are known.

    Args:
        path: File to write; its directory is made.
        cloud: Any cloud, possibly empty.

    Raises:
        RunError: The file cannot be written.
    """
    vertices, header = _vertex_table(cloud.points_m, cloud.normals, cloud.colors)
    write_atomically(path, _ply(header, vertices))


def write_glb(path: Path, mesh: Mesh) -> None:
    """Write a mesh as binary glTF, in the world's coordinates.

    Args:
        path: File to write; its directory is made.
        mesh: A mesh with at least one face.

    Raises:
        RunError: The mesh is empty, which glTF cannot hold, or the file cannot be written.
    """
    if not len(mesh.faces):
        raise RunError(f'{path.name} cannot be written', 'an empty mesh', 'at least one face')
    # Without `process=False` trimesh merges and drops vertices.
    solid = trimesh.Trimesh(mesh.vertices_m, mesh.faces, vertex_colors=mesh.colors, process=False)
    content = solid.export(file_type='glb')
    assert isinstance(content, bytes)
    write_atomically(path, content)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name and rename it, making its directory where needed.

    Raises:
        RunError: It cannot be written; what was there before is unchanged.
    """
    draft = path.with_name(f'.{path.name}.{os.getpid()}-{threading.get_ident()}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        raise RunError(f'{path} cannot be written', error.strerror or str(error)) from error
    finally:
        if draft.exists():
            draft.unlink()


def _vertex_table(
    points_m: NDArray[Any], normals: NDArray[Any] | None, colors: NDArray[Any] | None
) -> tuple[NDArray[Any], list[str]]:
    columns = [(_POSITION, points_m), (_NORMAL, normals), (_COLOR, colors)]
    used = [(fields, values) for fields, values in columns if values is not None]
    fields = [field for group, _ in used for field in group]
    table = np.empty(len(points_m), fields)
    for group, values in used:
        for index, (name, _) in enumerate(group):
            table[name] = values[:, index]
    header = [f'element vertex {len(points_m)}']
    header += [f'property {_PLY_TYPES[kind]} {name}' for name, kind in fields]
    return table, header


def _ply(header: list[str], *tables: NDArray[Any]) -> bytes:
    lines = ['ply', 'format binary_little_endian 1.0', 'comment frame: world, unit: metre']
    text = '\n'.join([*lines, *header, 'end_header']) + '\n'
    return text.encode('ascii') + b''.join(table.tobytes() for table in tables)
