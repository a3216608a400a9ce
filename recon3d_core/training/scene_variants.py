"""Ways to make objects of a sweep that stand beside each other in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core import config as configuration
from recon3d_core.data.synthetic import MIN_MASK_PX
from recon3d_core.errors import InputError
from recon3d_core.geometry.boxes import upright_box
from recon3d_core.meshing.closing.envelope import slice_hulls
from recon3d_core.meshing.isosurface import isosurface
from recon3d_core.meshing.sampling import sample_surface
from recon3d_core.registry import closest
from recon3d_core.scene.options import PipelineConfig
from recon3d_core.training.scene_runs import Run, SceneObject, UP
from recon3d_core.types import Mesh
from scipy.spatial import ConvexHull, QhullError

Array = NDArray[np.float64]

_POINTS = 20_000
_VOXELS = 64

RETRIEVAL = 'oracle_retrieval'
CLOSING: dict[str, Any] = {
    'detector': {'plugin': 'depth_cluster'},
    'reconstructor': {'plugin': 'tsdf_object'},
    'mesher': {'plugin': 'closed'},
    'refinement': None,
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        replaced: Sections of the configuration that it has in its own way; None leaves one out.
        true_masks: Whether it is given the true masks.
        reshape: Makes another mesh of the seen part and the cameras' places (n, 3), or None.
    """

    replaced: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    true_masks: bool = False
    reshape: Callable[[Mesh, Array], Mesh | None] | None = None


def convex_hull(seen: Mesh, _: Array) -> Mesh | None:
    """Return the convex hull of the visible part; None where that is flat."""
    vertices = seen.vertices_m[np.unique(seen.faces)].astype(np.float64)
    try:
        hull = ConvexHull(vertices)
    except (QhullError, ValueError):
        return None
    faces = hull.simplices.astype(np.int32)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (normals * hull.equations[:, :3]).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Mesh(vertices.astype(np.float32), faces)


def mirrored_cloud(seen: Mesh, eyes_world_m: Array) -> Mesh | None:
    """Return the visible points and their mirror image, the slices filled.

    The plane is upright, across the mean direction of sight, in the middle of what is visible:
    from above, the top shows how far an object reaches.
    """
    if not len(seen.faces):
        return None
    points = sample_surface(seen.vertices_m, seen.faces, _POINTS)[0].astype(np.float64)
    sight = (eyes_world_m - points.mean(0))[:, :2]
    sight /= np.maximum(np.linalg.norm(sight, axis=1, keepdims=True), 1e-9)
    across = np.append(sight.mean(0), 0.0)
    across /= max(float(np.linalg.norm(across)), 1e-9)
    depth = points @ across
    plane = np.quantile(depth, (0.005, 0.995)).mean()
    points = np.concatenate([points, points + 2 * (plane - depth)[:, None] * across])
    low, high = points.min(0), points.max(0)
    edge = float((high - low).max()) * (1 + 2 / _VOXELS)
    corner = (low + high) / 2 - edge / 2
    volume = np.zeros((_VOXELS,) * 3, bool)
    volume[tuple(((points - corner) / edge * _VOXELS).astype(np.int64).T)] = True
    vertices, faces = isosurface(slice_hulls(volume).astype(np.float32))
    return Mesh((vertices * edge + corner + edge / 2).astype(np.float32), faces)


VARIANTS: dict[str, Variant] = {
    'default': Variant(),
    'unrefined': Variant({'refinement': {'enabled': False}}),
    'closing': Variant(CLOSING),
    'convex_hull': Variant(reshape=convex_hull),
    'mirrored_cloud': Variant(reshape=mirrored_cloud),
    'oracle_masks': Variant(true_masks=True),
    'oracle_masks_closing': Variant(CLOSING, true_masks=True),
    'oracle_masks_factored3d': Variant(
        {'reconstructor': {'plugin': 'factored3d'}}, true_masks=True
    ),
    'oracle_masks_im2cad': Variant({'reconstructor': {'plugin': 'im2cad'}}, true_masks=True),
}
ASKED_FOR = ('oracle_masks_factored3d', 'oracle_masks_im2cad')
"""Variants that are made only where they are named: they need weights or a library of meshes."""

NAMES = (*(name for name in VARIANTS if name not in ASKED_FOR), RETRIEVAL)


def check_names(names: Sequence[str]) -> list[str]:
    """Return names of variants, each once.

    Raises:
        InputError: There is none, or one is unknown.
    """
    for name in names:
        known = (*NAMES, *ASKED_FOR)
        if name not in known:
            hint = closest(name, list(known))
            raise InputError('unknown variant', repr(name), f'of {", ".join(known)}', hint)
    if not names:
        raise InputError('--variants', 'none', f'of {", ".join(NAMES)}')
    return list(dict.fromkeys(names))


def config_of(variant: Variant, name: str, overrides: Mapping[str, Any]) -> PipelineConfig:
    """Return the configuration of a variant.

    Args:
        variant: The variant; its own sections replace those of the file and the overrides.
        name: Name or file of the configuration.
        overrides: Nested options that replace the file's.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of range.
    """
    values = configuration.read_yaml(configuration.find_config(name))
    values = {**configuration.merge(values, overrides), **variant.replaced}
    values = {name: section for name, section in values.items() if section is not None}
    if variant.true_masks:
        values['detector'] = {'plugin': 'frame_masks', 'min_pixels': MIN_MASK_PX}
    result: PipelineConfig = configuration.validate(PipelineConfig, values)
    return result


def reshaped(run: Run, variant: Variant, eyes_world_m: Array) -> tuple[SceneObject, ...]:
    """Return the objects of a run as a variant shapes them.

    Args:
        run: What the pipeline made.
        variant: The variant; what it cannot shape keeps its mesh.
        eyes_world_m: (n, 3) places of the camera.
    """
    if variant.reshape is None:
        return run.objects
    shaped = []
    for seen, whole in zip(run.seen, run.objects, strict=True):
        mesh = variant.reshape(seen.mesh, eyes_world_m)
        if mesh is None or not len(mesh.faces):
            shaped.append(whole)
            continue
        T_world_object, size_m = upright_box(mesh.vertices_m, UP)
        shaped.append(SceneObject(whole.id, whole.score, mesh, T_world_object, size_m))
    return tuple(shaped)
