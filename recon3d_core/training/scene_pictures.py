"""A picture of a sweep's result: the photo, the true objects, and what each variant made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at
from recon3d_core.meshing.render import render_mesh
from recon3d_core.metrics.scene import match_objects
from recon3d_core.scene.preview import color_of
from recon3d_core.training.scene_runs import SceneObject
from recon3d_core.training.scene_scores import KnownObject
from recon3d_core.types import Frame, Mesh

Image = NDArray[np.uint8]

_WIDTH = 320
_PHANTOM = np.array((90, 90, 90), np.uint8)
_SOME_OVERLAP = 0.1  # enough for the true object's colour; not enough to count as found
_TITLE_PX = 18


def draw_scene(
    frame: Frame, known: Sequence[KnownObject], variants: Mapping[str, Sequence[SceneObject]]
) -> Image:
    """Draw what is there and what was found, from an image of the sweep and from behind.

    What was found has the colour of the true object that it overlaps most, or is dark.

    Args:
        frame: The image.
        known: The true objects.
        variants: What each variant found, by name.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    camera = frame.camera.scaled(_WIDTH / frame.camera.width)
    front = frame.truth.T_world_camera
    back = _from_behind(front, known)
    photo = cv2.resize(frame.rgb, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    blank = np.full_like(photo, 255)
    true = [_colored(one.truth.mesh, color_of(one.truth.id)) for one in known]
    columns = [
        _column('photo', photo, blank),
        _column('truth', *_views(true, camera, front, back)),
    ]
    for name, objects in variants.items():
        meshes = _matched(objects, known)
        columns.append(_column(name, *_views(meshes, camera, front, back)))
    return np.hstack(columns)


def _from_behind(pose: NDArray[np.float64], known: Sequence[KnownObject]) -> NDArray[np.float64]:
    """Return the pose that faces a camera from the other side of the objects."""
    center = np.mean([one.truth.T_world_object[:3, 3] for one in known], axis=0)
    eye = pose[:3, 3].copy()
    eye[:2] = 2 * center[:2] - eye[:2]
    return look_at(eye, center)


def _views(
    meshes: Sequence[Mesh], camera: Camera, front: NDArray[np.float64], back: NDArray[np.float64]
) -> tuple[Image, Image]:
    return render_mesh(meshes, camera, front)[0], render_mesh(meshes, camera, back)[0]


def _matched(objects: Sequence[SceneObject], known: Sequence[KnownObject]) -> list[Mesh]:
    pairs = match_objects(objects, [one.truth for one in known], _SOME_OVERLAP).matches
    colors = {pair.estimate_id: color_of(pair.truth_id) for pair in pairs}
    return [_colored(one.mesh, colors.get(one.id, _PHANTOM)) for one in objects]


def _colored(mesh: Mesh, color: Image) -> Mesh:
    return Mesh(mesh.vertices_m, mesh.faces, np.tile(color, (len(mesh.vertices_m), 1)))


def _column(title: str, above: Image, below: Image) -> Image:
    bar = np.full((_TITLE_PX, above.shape[1], 3), 40, np.uint8)
    cv2.putText(bar, title, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1,
                cv2.LINE_AA)  # fmt: skip
    return np.vstack([bar, above, below])
