"""Cameras of photos from a file (docs/predict.md), or from the files of an RGB-D folder."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_finite, check_shape, check_transform
from recon3d_core.data.rgbd_folder import GRAVITY, INTRINSICS, read_intrinsics, read_pose
from recon3d_core.errors import InputError

Array = NDArray[np.float64]
MAX_BYTES = 1 << 24
_TOLERANCE = 1e-3
_FORM = '{"views": [{"K": 3x3, "T_world_camera": 4x4}, ...], "cube": {"center", "edge", "up"}}'


@dataclasses.dataclass(frozen=True)
class Cube:
    """Where an object is.

    Attributes:
        center_m: (3,) in the world.
        edge_m: Its edge.
        up: (3,) its z axis in the world.
    """

    center_m: Array
    edge_m: float
    up: Array


@dataclasses.dataclass(frozen=True)
class Poses:
    """Cameras of photos.

    Attributes:
        K: (V, 3, 3) in pixels of the upright photos, pixel centres at integers.
        T_world_camera: (V, 4, 4), cameras' optical frames, metres.
        cube: Where the object is, or None.
        up: (3,) unit vector up in the world, or None where unknown.
    """

    K: Array
    T_world_camera: Array
    cube: Cube | None = None
    up: Array | None = None


def read_poses(path: Path, images: Sequence[Path]) -> Poses:
    """Return the cameras of photos.

    Args:
        path: A JSON file, or a folder with NAME.pose.txt for each NAME.color.jpg (or NAME.jpg)
            and camera-intrinsics.txt.
        images: The photos' files.

    Raises:
        InputError: The file is missing or broken, has another number of views, or a camera is
            impossible.
    """
    if path.is_dir():
        return _from_folder(path, images)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f'{path} is no file of poses', 'too many bytes', _FORM)
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'poses {path} cannot be read', str(error)[:200], _FORM) from error
    views = content.get('views') if isinstance(content, dict) else None
    if not isinstance(views, list) or not all(isinstance(view, dict) for view in views):
        raise InputError(f'poses {path}', 'no list "views"', _FORM)
    views = _in_order(path, views, images)
    K = [_matrix(f'{path}: K of view {i}', view.get('K'), (3, 3)) for i, view in enumerate(views)]
    T = [
        _matrix(f'{path}: T_world_camera of view {i}', view.get('T_world_camera'), (4, 4))
        for i, view in enumerate(views)
    ]
    cube = content.get('cube')
    return _checked(
        str(path), np.stack(K), np.stack(T), None if cube is None else _cube(path, cube)
    )


def _in_order(path: Path, views: list[Any], images: Sequence[Path]) -> list[Any]:
    """Return the views of the images: by name where all views have one, else in their order."""
    names = [view.get('image') for view in views]
    if views and all(isinstance(name, str) for name in names):
        by_name = {Path(name).name: view for name, view in zip(names, views)}
        missing = [image.name for image in images if image.name not in by_name]
        if missing:
            raise InputError(f'poses {path}', f'no view of {missing[0]}', 'a view of every image')
        return [by_name[image.name] for image in images]
    if len(views) != len(images):
        raise InputError(f'poses {path}', f'{len(views)} views', f'{len(images)}, as images')
    return views


def _matrix(name: str, values: Any, shape: tuple[int, ...]) -> Array:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(name, 'no matrix of numbers', shape) from error
    check_shape(name, array, shape)
    check_finite(name, array)
    return array


def _cube(path: Path, values: Any) -> Cube:
    if not isinstance(values, dict) or not {'center', 'edge'} <= set(values):
        raise InputError(f'{path}: cube', repr(values)[:80], '{"center", "edge", "up"}')
    center = _matrix(f'{path}: center of the cube', values['center'], (3,))
    up = _matrix(f'{path}: up of the cube', values.get('up', (0, 0, 1)), (3,))
    edge = float(_matrix(f'{path}: edge of the cube', values['edge'], ()))
    length = float(np.linalg.norm(up))
    if not 1e-6 < edge < 1e6 or length < 1e-6:
        raise InputError(f'{path}: cube', f'edge {edge:g}, up {up}', 'an edge in metres, up not 0')
    return Cube(center, edge, up / length)


def _from_folder(folder: Path, images: Sequence[Path]) -> Poses:
    names = [image.name.split('.')[0] for image in images]
    T = np.stack([read_pose(folder / f'{name}.pose.txt') for name in names])
    K = np.repeat(read_intrinsics(folder / INTRINSICS)[None], len(images), 0)
    up, path = None, folder / GRAVITY
    if path.is_file():
        try:
            down = np.array([float(word) for word in path.read_text(encoding='utf-8').split()])
        except (OSError, ValueError) as error:
            raise InputError(f'{path} cannot be read', str(error), '3 numbers') from error
        check_shape(f'{path}', down, (3,))
        check_finite(f'{path}', down)
        up = -down / max(float(np.linalg.norm(down)), 1e-9)
    return _checked(str(folder), K, T, None, up)


def _checked(
    name: str, K: Array, T_world_camera: Array, cube: Cube | None, up: Array | None = None
) -> Poses:
    for index, (matrix, pose) in enumerate(zip(K, T_world_camera)):
        check_transform(f'{name}: T_world_camera of view {index}', pose, _TOLERANCE)
        usual = np.allclose(matrix[2], (0, 0, 1)) and abs(matrix[1, 0]) < 1e-9
        if not usual or min(matrix[0, 0], matrix[1, 1]) <= 0:
            raise InputError(
                f'{name}: K of view {index}', matrix.tolist(), 'fx and fy above 0, last row 0 0 1'
            )
    return Poses(K, T_world_camera, cube, cube.up if cube is not None else up)
