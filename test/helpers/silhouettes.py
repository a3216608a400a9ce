"""How well a sample's occupancy, projected by its cameras, fits its masks."""

from __future__ import annotations

import cv2
import numpy as np


def project(sample, occupancy):
    """Return silhouettes (V, S, S) of the occupied voxels, by many points in each."""
    n, size = occupancy.shape[0], sample.masks.shape[-1]
    steps = np.linspace(-0.5, 0.5, 3)
    offsets = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    points = (np.argwhere(occupancy)[:, None] + 0.5 + offsets) / n - 0.5
    points = points.reshape(-1, 3)
    found = np.zeros((len(sample.masks), size, size), np.uint8)
    for silhouette, K, T in zip(found, sample.K, sample.T_camera_cube):
        image = (points @ T[:3, :3].T + T[:3, 3]) @ K.T
        pixels = np.floor(image[:, :2] / image[:, 2:] * size).astype(int)
        inside = ((pixels >= 0) & (pixels < size)).all(1)
        silhouette[pixels[inside, 1], pixels[inside, 0]] = 1
        # Fills the pixels between points where a voxel is large in the image.
        silhouette[:] = cv2.morphologyEx(silhouette, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    return found > 0


def silhouette_iou(sample, occupancy=None):
    """Return the IoU (V,) of projected voxels and masks."""
    found = project(sample, sample.occupancy if occupancy is None else occupancy)
    masks = sample.masks > 127
    return (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))


def cover(sample):
    """Return which share (V,) of the masks the projected voxels cover."""
    found, masks = project(sample, sample.occupancy), sample.masks > 127
    return (found & masks).sum((1, 2)) / masks.sum((1, 2))
