"""Photos of one object, with or without poses, to its shape."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from recon3d_core import registry
from recon3d_core.errors import InputError, RunError
from recon3d_core.fusion._cones import box_from_views
from recon3d_core.fusion._crops import as_tensors, cameras_of
from recon3d_core.fusion._paint import seen_and_colors
from recon3d_core.fusion._volumes import recalibrated
from recon3d_core.fusion.progress import ShapeProgress
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import apply, frame_from_normal
from recon3d_core.meshing.isosurface import isosurface
from recon3d_core.models import create_model
from recon3d_core.models.base import VolumeNetwork
from recon3d_core.models.weights import read_card, WeightsCard
from recon3d_core.prediction.confidence import (
    Confidence,
    expected_iou,
    likeliest_agreement,
    silhouette_agreement,
)
from recon3d_core.prediction.poses import Poses, read_poses
from recon3d_core.prediction.views import ObjectView, read_views
from recon3d_core.types import Mesh
from scipy import ndimage
from scipy.spatial import cKDTree
import torch

MAX_VIEWS = 64
SPECK = 0.02  # of the largest part's voxels: smaller parts are left out


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The shape of an object.

    Attributes:
        model: Name of the network.
        card: The card of its weights.
        views: The photos.
        probabilities: (N, N, N) float32, recalibrated so that 0.5 is the network's threshold.
        threshold: Probability of the surface; below 0.5 where nothing reached that.
        grid: Place of the probabilities; the unit cube, in edges of it, without poses.
        mesh: Closed surface with colours.
        confidence: How much it is to be believed.
        expected_change: What as many views again would change, as 1 - IoU
            (`fusion.progress`); None with one view.
        metric: Whether the shape is in metres, in the world of the poses.
        notes: What a person should know.
    """

    model: str
    card: WeightsCard
    views: tuple[ObjectView, ...]
    probabilities: NDArray[np.float32]
    threshold: float
    grid: VoxelGrid
    mesh: Mesh
    confidence: Confidence
    expected_change: float | None
    metric: bool
    notes: tuple[str, ...]


def predict(
    images: Sequence[Path],
    masks: Sequence[Path] = (),
    poses_path: Path | None = None,
    model: str | None = None,
    weights: str = 'default',
    threshold: float | None = None,
    device: str = 'cpu',
) -> Prediction:
    """Return the shape of the object that photos show.

    Args:
        images: JPEG or PNG files, one or more.
        masks: As many files, or none: then opacity or segmentation tell the object.
        poses_path: File of the cameras (`read_poses`), or None.
        model: Name of a network; `posed_fusion` with poses and `pix2vox_s` without where None.
        weights: `default` or a file.
        threshold: Probability of the network from which a voxel is inside; that of the card
            where None.
        device: `cpu` or `cuda:N`.

    Raises:
        InputError: A file or an option is wrong.
        RunError: The network says the same of every voxel.
    """
    if not 1 <= len(images) <= MAX_VIEWS:
        raise InputError('images', len(images), f'1 to {MAX_VIEWS}')
    if threshold is not None and not 0 < threshold < 1:
        raise InputError('--threshold', threshold, 'a number between 0 and 1')
    name = model or ('pix2vox_s' if poses_path is None else 'posed_fusion')
    poses = None if poses_path is None else read_poses(poses_path, images)
    network, card = _network(name, weights, device, posed=poses_path is not None)
    views = read_views(images, masks, poses, int(network.config.image_size))
    used_poses = poses if 'pose' in network.needs else None
    notes = []
    if poses is not None and used_poses is None:
        notes.append(f'{name} does not use poses: the shape is in a pose and size of its own')
    grid = _cube(views, used_poses, network.resolution)
    limit = network.threshold if threshold is None else threshold
    probabilities, change = _fuse(network, views, grid, limit, device)
    solid, level = _solid(probabilities)
    if level < 0.5:
        notes.append('no voxel reached the threshold: the likeliest part is shown')
    metric = used_poses is not None
    mesh = _mesh(solid, level, grid, views, posed=metric)
    return Prediction(
        model=name,
        card=card,
        views=tuple(views),
        probabilities=probabilities,
        threshold=level,
        grid=grid,
        mesh=mesh,
        confidence=_confidence(probabilities, solid >= level, mesh, views, posed=metric),
        expected_change=change,
        metric=metric,
        notes=tuple(notes),
    )


def _network(
    name: str, weights: str, device: str, *, posed: bool
) -> tuple[VolumeNetwork, WeightsCard]:
    kind = registry.load('model', name)
    if 'pose' in kind.needs and not posed:
        raise InputError(
            f'{name} without poses', None, '--poses FILE', 'Give them, or choose pix2vox_s.'
        )
    card = read_card(name, weights)
    return create_model(name, weights, device).optimize_for_inference(), card


def _cube(views: Sequence[ObjectView], poses: Poses | None, resolution: int) -> VoxelGrid:
    """Return the grid of the network's cube."""
    shape = (resolution, resolution, resolution)
    T = np.eye(4)
    if poses is None:
        T[:3, 3] = -0.5
        return VoxelGrid(T, 1 / resolution, shape)
    if poses.cube is None:
        outlines = [view.outline for view in views if view.outline is not None]
        cube = box_from_views(outlines, up=poses.up)
        return VoxelGrid(cube.T_world_grid, cube.voxel_size_m / resolution, shape)
    edge = poses.cube.edge_m
    T[:3, :3] = frame_from_normal(poses.cube.up)
    T[:3, 3] = poses.cube.center_m - T[:3, :3] @ np.full(3, edge / 2)
    return VoxelGrid(T, edge / resolution, shape)


def _fuse(
    network: VolumeNetwork,
    views: Sequence[ObjectView],
    grid: VoxelGrid,
    threshold: float,
    device: str,
) -> tuple[NDArray[np.float32], float | None]:
    """Return the probabilities of all views together, and the expected change."""
    progress, change = ShapeProgress(), None
    posed = 'pose' in network.needs
    with torch.inference_mode():
        state = network.start()
        for count, view in enumerate(views, 1):
            image, mask = as_tensors(view.crop, device)
            camera = cameras_of(view.crop, grid, device) if posed else None
            state = network.observe(state, network.preprocess(image, mask)[:, 0], camera)
            if count == len(views) or count & (count - 1) == 0:
                volume = recalibrated(network.probabilities(state)[0], threshold)
                values: NDArray[np.float32] = volume.float().cpu().numpy()
                change = progress.note(values, grid, count)
    if not np.isfinite(values).all():
        raise RunError('the network gave values that are not finite', fix='Check its weights.')
    return values, change


def _solid(probabilities: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return probabilities without specks of the solid, and the level of the surface."""
    level = 0.5
    if not (probabilities >= level).any():
        low, high = float(probabilities.min()), float(probabilities.max())
        if high - low < 1e-6:
            raise RunError('the network says the same of every voxel', fix='Check its weights.')
        level = (low + high) / 2
    labels, count = ndimage.label(probabilities >= level)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    specks = (sizes < SPECK * sizes[1:].max())[labels] & (labels > 0)
    return np.where(specks, np.float32(0), probabilities), level


def _confidence(
    probabilities: NDArray[np.float32],
    solid: NDArray[np.bool_],
    mesh: Mesh,
    views: Sequence[ObjectView],
    *,
    posed: bool,
) -> Confidence:
    crops = [view.crop for view in views]
    agreement = silhouette_agreement(mesh, crops) if posed else likeliest_agreement(solid, crops)
    masks = float(np.mean([view.mask_confidence for view in views]))
    return Confidence(expected_iou(probabilities, 0.5), masks, agreement)


def _mesh(
    probabilities: NDArray[np.float32],
    level: float,
    grid: VoxelGrid,
    views: Sequence[ObjectView],
    *,
    posed: bool,
) -> Mesh:
    vertices, faces = isosurface(probabilities, level)
    edge = float(grid.extent_m.max())
    places = apply(grid.T_world_grid, (vertices.astype(np.float64) + 0.5) * edge)
    plain = np.median([view.color for view in views], axis=0).astype(np.uint8)
    colors = np.repeat(plain[None], len(vertices), 0)
    if posed:
        _, painted = seen_and_colors(probabilities >= level, grid, [view.crop for view in views])
        if painted is not None:
            index = np.argwhere(painted.any(-1))
            at = (vertices + 0.5) * len(probabilities) - 0.5
            colors = painted[tuple(index[cKDTree(index).query(at)[1]].T)]
    return Mesh(places.astype(np.float32), faces, colors)
