"""The training object nearest to the truth, in the true box: the most that retrieval could do."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data.scenes.library import Library, Shares
from recon3d_core.data.scenes.resting import draw_resting
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.geometry.boxes import upright_box
from recon3d_core.geometry.transforms import apply, invert
from recon3d_core.metrics.solids import MeshSolid
from recon3d_core.training.scene_runs import SceneObject, UP
from recon3d_core.types import Mesh

_VOXELS = 32
_SIZES_M = (0.035, 1.3)  # what scenes hold
_UPRIGHT_CHANCE = 0.65


@dataclasses.dataclass(frozen=True)
class _Known:
    """Training objects, each at rest and in its upright box, [-0.5, 0.5]^3."""

    meshes: tuple[Mesh, ...]
    inside: NDArray[np.float32]  # (n, voxels)


class OracleRetrieval:
    """Remembers training objects and finds the nearest, which only an oracle can tell."""

    def __init__(self, library: Library, objects: int, seed: int = 0) -> None:
        """Choose them; they are loaded when the first one is asked for.

        Args:
            library: Where they are from.
            objects: How many.
            seed: Says which.
        """
        self._library, self._objects, self._seed = library, objects, seed

    @functools.cached_property
    def _known(self) -> _Known:
        rng = np.random.default_rng(self._seed)
        meshes = []
        for _ in range(self._objects):
            item = self._library.draw('train', Shares(bulky=0.1), _SIZES_M, rng)
            turn = draw_resting(list(item.poses), _UPRIGHT_CHANCE, rng)
            mesh = Mesh((item.mesh.vertices @ turn.T).astype(np.float32), item.mesh.faces)
            pose, size = upright_box(mesh.vertices_m, UP)
            meshes.append(_boxed(mesh, pose, size))
        return _Known(tuple(meshes), np.stack([_voxels(mesh).ravel() for mesh in meshes]))

    def nearest(self, truth: ObjectTruth) -> SceneObject:
        """Return the training object with the largest IoU in the object's own box.

        It may be turned by quarters about the vertical, and is stretched to the true box.
        """
        known = self._known
        own = _voxels(_boxed(truth.mesh, truth.T_world_object, truth.size_m))
        turned = np.stack([np.rot90(own, -k).ravel() for k in range(4)])
        common = known.inside @ turned.T
        union = known.inside.sum(1)[:, None] + turned.sum(1) - common
        index, quarters = np.unravel_index(
            int((common / np.maximum(union, 1)).argmax()), common.shape
        )
        c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarters)]
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float64)
        mesh = known.meshes[int(index)]
        local = (mesh.vertices_m @ turn.T) * truth.size_m
        world = apply(truth.T_world_object, local).astype(np.float32)
        return SceneObject(
            truth.id, 1.0, Mesh(world, mesh.faces), truth.T_world_object, truth.size_m
        )


def _boxed(mesh: Mesh, pose: NDArray[np.float64], size_m: NDArray[np.float64]) -> Mesh:
    """Return a mesh in the coordinates of its box, [-0.5, 0.5]^3."""
    local = apply(invert(pose), mesh.vertices_m.astype(np.float64)) / size_m
    return Mesh(local.astype(np.float32), mesh.faces)


def _voxels(mesh: Mesh) -> NDArray[np.float32]:
    """Return which voxels of the box are inside, as 0 and 1."""
    at = (np.arange(_VOXELS) + 0.5) / _VOXELS - 0.5
    centers = np.stack(np.meshgrid(at, at, at, indexing='ij'), -1)
    return MeshSolid(mesh).contains(centers).astype(np.float32)
