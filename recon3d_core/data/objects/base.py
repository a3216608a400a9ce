"""Objects with a known shape: meshes with colours, from files or made by rule."""

from __future__ import annotations

import abc
from collections.abc import Sequence
import dataclasses

import numpy as np
from numpy.typing import NDArray

SPLITS = ('train', 'val', 'test')
LONGEST_EDGE = 15 / 16  # of the cube: a rim of half a voxel at 16^3, one voxel at 32^3


@dataclasses.dataclass(frozen=True)
class ObjectMesh:
    """A triangle mesh with colours; it need not be watertight.

    Attributes:
        vertices: (V, 3) float32.
        faces: (F, 3) int32, counter-clockwise seen from outside where that is known.
        colors: (V, 3) uint8 RGB, or None where textures say the colour.
        uv: (F, 3, 2) float32 texture coordinates of each face's corners, origin lower left; or
            None.
        textures: Images (h, w, 3) uint8 RGB.
        face_texture: (F,) int32 index into `textures`, -1 = the vertices' colours; or None.
        face_part: (F,) int32 index into `part_names`, or None.
        part_names: Names of the parts.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.uint8] | None = None
    uv: NDArray[np.float32] | None = None
    textures: tuple[NDArray[np.uint8], ...] = ()
    face_texture: NDArray[np.int32] | None = None
    face_part: NDArray[np.int32] | None = None
    part_names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ObjectModel:
    """One object in its cube: z up, front towards +x where the category has a front.

    Attributes:
        name: Unique over all sets, such as `procedural/chair/000123`.
        category: What it is.
        split: Of `SPLITS`.
        mesh: In the cube [-0.5, 0.5]^3, centred by its bounding box, whose longest edge is
            `LONGEST_EDGE`.
        edge_m: Edge of the cube in metres.
        metric: Whether that size is real or made up.
        watertight: Whether the mesh is closed.
        licence: Of the mesh.
    """

    name: str
    category: str
    split: str
    mesh: ObjectMesh
    edge_m: float
    metric: bool = True
    watertight: bool = True
    licence: str = 'Apache-2.0'


class ObjectSet(abc.ABC):
    """A set of objects, known by name at once and loaded one by one."""

    @abc.abstractmethod
    def names(self, split: str) -> Sequence[str]:
        """Return the sorted names of a split."""

    @abc.abstractmethod
    def load(self, name: str) -> ObjectModel:
        """Return an object.

        Raises:
            InputError: No such object, or its file cannot be read.
        """


def to_cube(mesh: ObjectMesh) -> tuple[ObjectMesh, float]:
    """Return the mesh moved and scaled into its cube, and the edge of the cube before.

    Returns:
        The mesh, and the cube's edge in the units that the mesh had.
    """
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    edge = float((high - low).max()) / LONGEST_EDGE
    vertices = (mesh.vertices - (low + high) / 2) / edge
    return dataclasses.replace(mesh, vertices=vertices.astype(np.float32)), edge
