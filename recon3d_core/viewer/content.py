"""What the page shows, from a running pipeline or from the files of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_transform
from recon3d_core.errors import SourceError
from recon3d_core.types import Mesh, ObjectEstimate
from recon3d_core.viewer.ply import read_mesh

SUMMARY = 'summary.json'
SCENE = 'scene.ply'
_AROUND_M = 0.01
_BENEATH_M = 0.03


def as_markdown(text: str) -> str:
    """Return Markdown, one line, that shows a text as it is.

    The page's Markdown may hold programs (MDX), and labels and names come from others.
    """
    return re.sub(r'([\\`*_{}\[\]<>()|~#&!])', r'\\\1', ' '.join(text.split()))


@dataclasses.dataclass(frozen=True)
class ShownObject:
    """One object.

    Attributes:
        id: Stable number.
        label: What it is.
        score: Confidence in [0, 1].
        mesh: Its mesh in the world's frame, metres.
        T_world_object: (4, 4) pose of the oriented box's centre.
        size_m: (3,) edges of that box.
        seen_fraction: Part of the mesh's area that a camera saw, in [0, 1].
        views_used: How many views made it.
        watertight: Whether the mesh is closed.
        observed_only: Whether the mesh is only a shell of the seen surface.
        silhouette_iou: Overlap of rendered and seen masks, in [0, 1].
        revision: Differs whenever the object does.
    """

    id: int
    label: str
    score: float
    mesh: Mesh
    T_world_object: NDArray[np.float64]
    size_m: NDArray[np.float64]
    seen_fraction: float
    views_used: int
    watertight: bool
    observed_only: bool
    silhouette_iou: float
    revision: int = 0

    @classmethod
    def from_estimate(cls, estimate: ObjectEstimate) -> ShownObject:
        """Return an object of a running pipeline."""
        shared = {field.name for field in dataclasses.fields(cls)} - {'silhouette_iou'}
        values = {name: getattr(estimate, name) for name in shared}
        return cls(**values, silhouette_iou=estimate.self_check.silhouette_iou)

    @property
    def title(self) -> str:
        """Id and label, as in the list of objects."""
        return f'{self.id} {self.label}'

    def describe(self) -> str:
        """Return what is known of the object as Markdown."""
        size_cm = ' × '.join(f'{100 * edge:.1f}' for edge in self.size_m)
        mesh = 'closed' if self.watertight else 'open'
        if self.observed_only:
            mesh += ', seen surface only: the completed object does not fit its views'
        rows = {
            'size': f'{size_cm} cm',
            'score': f'{self.score:.2f}',
            'seen': f'{self.seen_fraction:.0%} of the surface',
            'views': str(self.views_used),
            'mesh': f'{mesh}, {len(self.mesh.faces)} triangles',
            'fits its views': f'{self.silhouette_iou:.2f} (silhouette IoU)',
        }
        lines = [f'| {name} | {value} |' for name, value in rows.items()]
        return '\n'.join([f'| **{as_markdown(self.title)}** | |', '|---|---|', *lines])


@dataclasses.dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        objects: The objects by id.
        scene_mesh: The surface of the scene, or None where it stays as it is shown.
        status: One line about it.
    """

    objects: Mapping[int, ShownObject]
    scene_mesh: Mesh | None = None
    status: str = ''


def is_result(path: Path) -> bool:
    """Return whether a path is a folder that `recon3d run` or `~/save` wrote."""
    return (path / SUMMARY).is_file()


def read_result(directory: Path) -> Content:
    """Return what a run left in a folder (docs/outputs.md).

    Raises:
        SourceError: A file is missing or malformed; the error names it.
    """
    try:
        summary = json.loads((directory / SUMMARY).read_text(encoding='utf-8'))
        objects = [_object(directory, item) for item in summary['objects']]
        frames = summary['frames']['read']
    except SourceError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f'{directory / SUMMARY} cannot be read',
            f'{type(error).__name__}: {error}',
            'a summary that `recon3d run` wrote',
        ) from error
    surface = directory / SCENE
    return Content(
        {item.id: item for item in objects},
        read_mesh(surface) if surface.is_file() else None,
        f'{len(objects)} objects from {frames} frames in {directory}',
    )


def _object(directory: Path, entry: Mapping[str, Any]) -> ShownObject:
    """Return an object of its entry in the summary and its mesh."""
    number = int(entry['id'])
    size_m = np.asarray(entry['size_m'], np.float64)
    if size_m.shape != (3,) or not np.isfinite(size_m).all():
        raise ValueError(f'size_m of object {number} is {entry["size_m"]}')
    pose = np.asarray(entry['T_world_object'], np.float64)
    check_transform('T_world_object', pose)
    return ShownObject(
        id=number,
        label=str(entry['label']),
        score=float(entry['score']),
        mesh=read_mesh(directory / 'objects' / f'{number}.ply'),
        T_world_object=pose,
        size_m=size_m,
        seen_fraction=float(entry['seen_fraction']),
        views_used=int(entry['views_used']),
        watertight=bool(entry['watertight']),
        observed_only=entry.get('published') == 'observed_surface_only',
        silhouette_iou=float(entry['self_check']['silhouette_iou']),
    )


def without_objects(scene: Mesh, objects: Iterable[ShownObject]) -> Mesh:
    """Return the surface of a scene without the faces in objects' boxes.

    The coarse surface of the scene would hide the finer meshes of the objects. What lies beneath
    an object, along the z axis of its box, stays.
    """
    inside = np.zeros(len(scene.vertices_m), bool)
    for item in objects:
        local = (scene.vertices_m - item.T_world_object[:3, 3]) @ item.T_world_object[:3, :3]
        low, high = -item.size_m / 2 - _AROUND_M, item.size_m / 2 + _AROUND_M
        low[2] = min(low[2] + _BENEATH_M, 0.0)
        inside |= ((local > low) & (local < high)).all(1)
    kept = ~inside[scene.faces].any(1)
    return Mesh(scene.vertices_m, scene.faces[kept], scene.colors)
