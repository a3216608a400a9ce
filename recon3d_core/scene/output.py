"""The files of a scene: meshes, clouds, occupancy, a preview and a summary (docs/outputs.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from importlib import metadata
import io
import json
import math
from pathlib import Path
import re
import resource
import sys
from typing import Any

import numpy as np
from recon3d_core.meshing.export import (
    write_atomically,
    write_glb,
    write_ply,
    write_points_ply,
)
from recon3d_core.scene.amodal import amodal_views, AmodalView
from recon3d_core.scene.preview import draw_preview, encode_png
from recon3d_core.scene.relations import Relation, relations
from recon3d_core.types import Frame, Mesh, ObjectEstimate, PointCloud, Scene

SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Output:
    """What the files of a scene are made of; nothing of it changes any more.

    Attributes:
        scene: The scene with mesh and cloud.
        frames: `read`, `integrated` and `dropped` of the summary.
        timings_ms: `{stage: {p50, p95}}`.
        device: Where it was computed.
        best_frame: What the preview shows beside the result, or None.
    """

    scene: Scene
    frames: Mapping[str, Any]
    timings_ms: Mapping[str, Mapping[str, float]]
    device: str
    best_frame: Frame | None

    def write(self, directory: Path) -> dict[str, Any]:
        """Write all files of a scene into a folder, made where it is missing.

        The objects of an earlier run are removed, and no other files; every file appears whole or
        not at all.

        Returns:
            The content of `summary.json`.

        Raises:
            OSError: The folder cannot be written.
            RunError: A file cannot be written.
        """
        directory, scene = Path(directory), self.scene
        directory.mkdir(parents=True, exist_ok=True)
        write_ply(directory / 'scene.ply', scene.mesh or _no_mesh())
        write_points_ply(directory / 'scene_points.ply', scene.cloud or _no_cloud())
        folder = directory / 'objects'
        folder.mkdir(exist_ok=True)
        _remove_objects(folder)
        for estimate in scene.objects.values():
            write_ply(folder / f'{estimate.id}.ply', estimate.mesh)
            write_glb(folder / f'{estimate.id}.glb', estimate.mesh)
            _write_occupancy(folder / f'{estimate.id}.npz', estimate)
        preview = encode_png(draw_preview(scene, self.best_frame))
        write_atomically(directory / 'preview.png', preview)
        summary = self.summary()
        text = json.dumps(summary, indent=2, allow_nan=False) + '\n'
        write_atomically(directory / 'summary.json', text.encode())
        return summary

    def summary(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        objects, frame = self.scene.objects, self.best_frame
        found = relations(objects, self.scene.planes)
        drawn = {} if frame is None else amodal_views(objects, frame)
        return {
            'schema': SCHEMA,
            'frames': dict(self.frames),
            'objects': [
                {
                    **describe_object(estimate),
                    'relations': _describe_relations(found, estimate.id),
                    'in_preview': _describe_view(drawn.get(estimate.id)),
                }
                for estimate in objects.values()
            ],
            'timings_ms': dict(self.timings_ms),
            'peak_rss_mb': round(peak_rss_mb(), 1),
            'device': self.device,
            'version': version(),
        }


def _remove_objects(folder: Path) -> None:
    """Remove what an earlier run wrote; the folder may hold other people's files too."""
    for path in folder.iterdir():
        if re.fullmatch(r'[0-9]+\.(ply|glb|npz)', path.name) and path.is_file():
            path.unlink()


def describe_object(estimate: ObjectEstimate) -> dict[str, Any]:
    """Return an object's entry in the summary."""
    residual = estimate.self_check.depth_residual_m
    free_share = estimate.self_check.free_share
    covariance = estimate.pose_covariance
    return {
        'id': estimate.id,
        'label': estimate.label,
        'score': round(estimate.score, 4),
        'confidence': None if estimate.confidence is None else round(estimate.confidence, 4),
        'T_world_object': np.round(estimate.T_world_object, 6).tolist(),
        'pose_covariance': None if covariance is None else np.round(covariance, 9).tolist(),
        'size_m': np.round(estimate.size_m, 4).tolist(),
        'views_used': estimate.views_used,
        'expected_change': (
            None if estimate.expected_change is None else round(estimate.expected_change, 4)
        ),
        'watertight': estimate.watertight,
        'volume_m3': round(estimate.volume_m3, 9),
        'seen_fraction': round(estimate.seen_fraction, 4),
        'self_check': {
            'silhouette_iou': round(estimate.self_check.silhouette_iou, 4),
            # JSON has no NaN: without depth there is no residual.
            'depth_residual_m': None if math.isnan(residual) else round(residual, 5),
            'free_share': None if math.isnan(free_share) else round(free_share, 4),
            'passed': estimate.self_check.passed,
        },
        'published': 'observed_surface_only' if estimate.observed_only else 'complete',
    }


def _describe_relations(found: Sequence[Relation], subject: int) -> list[dict[str, Any]]:
    return [
        {'kind': item.kind, 'other': 'plane' if item.other is None else item.other}
        for item in found
        if item.subject == subject
    ]


def _describe_view(view: AmodalView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        'amodal_box_xyxy': list(view.box_xyxy),
        'visible_fraction': round(view.visible_fraction, 4),
    }


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process so far, megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 if sys.platform != 'darwin' else 1024.0**2)


def version() -> str:
    """Return the installed version, or `0+unknown` in a plain checkout."""
    try:
        return metadata.version('recon3d_ros')
    except metadata.PackageNotFoundError:
        return '0+unknown'


def _write_occupancy(path: Path, estimate: ObjectEstimate) -> None:
    """Write occupancy, pose of the grid and voxel size."""
    shape = estimate.shape
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        occupancy=shape.occupancy.astype(np.float16),
        T_world_grid=shape.grid.T_world_grid,
        voxel_size_m=np.float64(shape.grid.voxel_size_m),
    )
    write_atomically(path, buffer.getvalue())


def _no_mesh() -> Mesh:
    return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def _no_cloud() -> PointCloud:
    return PointCloud(np.zeros((0, 3), np.float32))
