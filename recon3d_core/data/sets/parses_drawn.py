"""What is kept of a composed scene for parsing it: images, the empty room, and every object.

An object's own frame is that of its upright box (`geometry.boxes`): z up, the origin in its middle.
Its shape is told in that box, stretched to a cube, so that scale is three edges as in Factored3D.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.data import ground_truth
from recon3d_core.data.objects.base import ObjectMesh
from recon3d_core.data.scenes.composer import ComposedScene, draw_view, MAX_OBJECTS, SceneView
from recon3d_core.data.synth.rendering import Renderer
from recon3d_core.data.synth.truth import ObjectTruth
from recon3d_core.geometry.transforms import apply, invert
from scipy import ndimage

CELLS = 32  # along each axis of an object's box
LAYOUT_STEP = 4  # pixels of the image in one of the empty room
_ROUND_IOU = 0.9
_ROUND_ASPECT = 1.1
_ROUND_DEGREES = (30.0, 45.0)


def record_type(views: int, width: int, height: int) -> np.dtype[Any]:
    """Return the type of the record that holds a scene.

    Its fields: `rgb`; `layout`, inverse depth of the empty room in 1/m; `K`, fx fy cx cy in
    pixels; `T_camera_object`; `box_xyxy`, box of the visible pixels, outer edges, and how many
    `pixels` these are, by view and object; `size_m`, `shape` (packed bits [x, y, z]) and
    `is_round` by object.
    """
    layout = (height // LAYOUT_STEP, width // LAYOUT_STEP)
    seen = (views, MAX_OBJECTS)
    return np.dtype(
        [
            ('rgb', np.uint8, (views, height, width, 3)),
            ('layout', np.float16, (views, *layout)),
            ('K', np.float32, (views, 4)),
            ('T_camera_object', np.float32, (*seen, 4, 4)),
            ('box_xyxy', np.float32, (*seen, 4)),
            ('pixels', np.int32, seen),
            ('size_m', np.float32, (MAX_OBJECTS, 3)),
            ('shape', np.uint8, (MAX_OBJECTS, CELLS**3 // 8)),
            ('is_round', np.bool_, (MAX_OBJECTS,)),
        ]
    )


def draw_parses(scene: ComposedScene, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the record (1,) of a scene; its name says all that is drawn."""
    record = np.zeros(1, dtype)
    kept = record[0]
    views, height, width = kept['rgb'].shape[:3]
    empty = Renderer(scene.surroundings.parts, scene.surroundings.lights, shadows=False)
    for number in range(len(scene.placed)):
        truth = scene.objects[number + 1]
        inside = box_occupancy(truth)
        kept['size_m'][number] = truth.size_m
        kept['shape'][number] = np.packbits(inside)
        kept['is_round'][number] = is_round(inside, truth.size_m)
    for index in range(views):
        view = draw_view(scene, index, (width, height))
        camera = view.camera
        kept['rgb'][index] = view.rgb
        kept['K'][index] = camera.fx, camera.fy, camera.cx, camera.cy
        room = empty.render(camera.scaled(1 / LAYOUT_STEP), view.T_world_camera)
        kept['layout'][index] = inverse_depth(room.depth_m)
        _note_objects(kept, index, view, scene)
    return record


def inverse_depth(depth_m: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / depth (h, w); 0, infinitely far, where nothing is."""
    far = depth_m <= 0
    return np.where(far, np.float32(0), 1 / np.where(far, np.float32(1), depth_m))


def _note_objects(kept: Any, index: int, view: SceneView, scene: ComposedScene) -> None:
    T_camera_world = invert(view.T_world_camera)
    found = ndimage.find_objects(view.seen.instances, len(scene.placed))
    counts = np.bincount(view.seen.instances.ravel(), minlength=len(scene.placed) + 1)
    for number, place in enumerate(found):
        truth = scene.objects[number + 1]
        kept['T_camera_object'][index, number] = T_camera_world @ truth.T_world_object
        kept['pixels'][index, number] = counts[number + 1]
        if place is not None:
            rows, columns = place
            kept['box_xyxy'][index, number] = columns.start, rows.start, columns.stop, rows.stop


def box_occupancy(truth: ObjectTruth) -> NDArray[np.bool_]:
    """Return which cells (32, 32, 32) of its own upright box an object fills, indexed [x, y, z].

    Inside is as everywhere in the library (`data.ground_truth`): right for open meshes, and thin
    parts keep the cells that they pass through.
    """
    local = apply(invert(truth.T_world_object), truth.mesh.vertices_m.astype(np.float64))
    vertices = (local / np.maximum(truth.size_m, 1e-6)).astype(np.float32)
    return ground_truth.occupancy(ObjectMesh(vertices, truth.mesh.faces), CELLS)


def is_round(inside: NDArray[np.bool_], size_m: NDArray[np.floating]) -> bool:
    """Return whether an object looks the same after any turn about the vertical.

    Args:
        inside: (N, N, N) cells of its box.
        size_m: (3,) edges of the box.
    """
    if max(size_m[:2]) > _ROUND_ASPECT * min(size_m[:2]):
        return False
    values = inside.astype(np.float32)
    for degrees in _ROUND_DEGREES:
        turned = ndimage.rotate(values, degrees, (0, 1), reshape=False, order=1) > 0.5
        union = np.count_nonzero(turned | inside)
        if np.count_nonzero(turned & inside) < _ROUND_IOU * union:
            return False
    return True
