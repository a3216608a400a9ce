"""The picture that a person looks at first: the photo, the reconstruction, and every object."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at
from recon3d_core.meshing.render import cast_mesh, render_mesh
from recon3d_core.types import Frame, Mesh, ObjectEstimate, Scene

Image = NDArray[np.uint8]

PALETTE = np.array(
    [
        (230, 75, 60), (60, 160, 230), (95, 190, 80), (245, 175, 50), (165, 95, 210),
        (40, 190, 180), (235, 110, 165), (150, 130, 90), (110, 125, 235), (190, 200, 60),
    ],
    np.uint8,
)  # fmt: skip
"""Colours of objects, RGB; object n has colour n modulo the length."""

_TILE = (240, 200)
_DARK = (40, 44, 52)


def color_of(object_id: int) -> Image:
    """Return the RGB colour (3,) of an object."""
    color: Image = PALETTE[object_id % len(PALETTE)]
    return color


def draw_preview(scene: Scene, frame: Frame | None) -> Image:
    """Draw a scene.

    Args:
        scene: The scene; its mesh is drawn where it has one.
        frame: Frame whose photo and point of view are taken, or None for a view from outside.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    camera, T_world_camera = _viewpoint(scene, frame)
    background = scene.mesh if scene.mesh is not None and len(scene.mesh.faces) else None
    pictures = []
    if frame is not None and frame.rgb is not None:
        pictures.append(_outlined(frame.rgb, scene, camera, T_world_camera))
    meshes = [_tinted(estimate) for estimate in scene.objects.values()]
    surface = [] if background is None else [background]
    pictures.append(render_mesh(surface + meshes, camera, T_world_camera, (250, 250, 250))[0])
    if len(pictures) == 1:
        pictures.append(render_mesh(meshes, camera, T_world_camera, (250, 250, 250))[0])
    top = np.hstack([_framed(picture) for picture in pictures[:2]])
    return np.vstack([top, *_tiles(scene, T_world_camera, top.shape[1])])


def encode_png(image: Image) -> bytes:
    """Return an RGB image (H, W, 3) as PNG."""
    _, data = cv2.imencode('.png', np.ascontiguousarray(image[..., ::-1]))
    return data.tobytes()


def _viewpoint(scene: Scene, frame: Frame | None) -> tuple[Camera, NDArray[np.float64]]:
    """Return the camera to draw from: the frame's, or one that sees everything."""
    if frame is not None and frame.T_world_camera is not None:
        return frame.camera, frame.T_world_camera
    camera = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
    parts = [estimate.mesh.vertices_m for estimate in scene.objects.values()]
    if not parts and scene.mesh is not None and len(scene.mesh.vertices_m):
        parts = [scene.mesh.vertices_m]
    points = np.concatenate(parts) if parts else np.zeros((1, 3), np.float32)
    center = (points.min(0) + points.max(0)) / 2
    reach = max(float(np.linalg.norm(np.ptp(points, axis=0))), 0.2)
    return camera, look_at(center + reach * np.array([0.9, -0.9, 0.8]), center)


def _tinted(estimate: ObjectEstimate) -> Mesh:
    """Return an object's mesh in its own colour, what no camera saw lighter."""
    mesh = estimate.mesh
    color = color_of(estimate.id).astype(np.float64)
    colors = np.repeat(color[None], len(mesh.vertices_m), 0)
    if mesh.face_observed is not None:
        seen = np.zeros(len(mesh.vertices_m), bool)
        seen[mesh.faces[mesh.face_observed]] = True
        colors[~seen] = 0.45 * color + 0.55 * 255
    return dataclasses.replace(mesh, colors=colors.astype(np.uint8))


def _outlined(
    photo: Image, scene: Scene, camera: Camera, T_world_camera: NDArray[np.float64]
) -> Image:
    """Draw the objects' silhouettes, numbers and labels over a photo."""
    picture = photo.copy()
    depths = {i: cast_mesh(e.mesh, camera, T_world_camera) for i, e in scene.objects.items()}
    for object_id, depth in depths.items():
        mask = depth > 0
        for other_id, other in depths.items():
            if other_id != object_id:
                mask &= ~((other > 0) & (other < depth))
        color = color_of(object_id)
        picture[mask] = (0.65 * picture[mask] + 0.35 * color).astype(np.uint8)
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, contours, -1, color.tolist(), 2)
        if mask.any():
            rows, columns = np.nonzero(mask)
            text = _name(scene.objects[object_id])
            _write(picture, text, (int(columns.min()), int(rows.min()) - 5), color)
    return picture


def _name(estimate: ObjectEstimate) -> str:
    kind = '' if estimate.label == 'object' else f' {estimate.label}'
    return f'{estimate.id}{kind}'


def _write(picture: Image, text: str, place: tuple[int, int], color: Image) -> None:
    at = (max(place[0], 2), max(place[1], 14))
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 4, cv2.LINE_AA)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, color.tolist(), 2, cv2.LINE_AA)


def _framed(picture: Image) -> Image:
    """Scale a picture to the preview's height of 480."""
    height, width = picture.shape[:2]
    scaled: Image = cv2.resize(picture, (round(width * 480 / height), 480)).astype(np.uint8)
    return scaled


def _tiles(scene: Scene, T_world_camera: NDArray[np.float64], width: int) -> list[Image]:
    """Return rows of pictures, one per object, each from before and from behind."""
    tiles = [_tile(estimate, T_world_camera) for estimate in scene.objects.values()]
    if not tiles:
        row = np.full((60, width, 3), 250, np.uint8)
        cv2.putText(row, 'no objects', (20, 38), cv2.FONT_HERSHEY_SIMPLEX, 0.7, _DARK, 1,
                    cv2.LINE_AA)  # fmt: skip
        return [row]
    per_row = max(1, width // (2 * _TILE[0]))
    rows = []
    for begin in range(0, len(tiles), per_row):
        row = np.full((tiles[0].shape[0], width, 3), 250, np.uint8)
        for column, tile in enumerate(tiles[begin : begin + per_row]):
            x = column * tile.shape[1]
            row[:, x : x + tile.shape[1]] = tile
        rows.append(row)
    return rows


def _tile(estimate: ObjectEstimate, T_world_camera: NDArray[np.float64]) -> Image:
    """Draw an object as its cameras saw it, and the side that faces away."""
    center = estimate.T_world_object[:3, 3]
    up = estimate.T_world_object[:3, 2]
    reach = float(np.linalg.norm(estimate.size_m))
    towards = T_world_camera[:3, 3] - center
    level = towards - (towards @ up) * up
    level /= max(float(np.linalg.norm(level)), 1e-9)
    camera = Camera(_TILE[0], _TILE[1], 260.0, 260.0, _TILE[0] / 2, _TILE[1] / 2)
    pictures = []
    for direction, mesh in ((level, estimate.mesh), (-level, _tinted(estimate))):
        eye = center + 1.45 * reach * (direction + 0.55 * up)
        pictures.append(render_mesh([mesh], camera, look_at(eye, center, up), (250, 250, 250))[0])
    tile = np.vstack([np.full((44, 2 * _TILE[0], 3), 250, np.uint8), np.hstack(pictures)])
    size = ' x '.join(f'{100 * edge:.1f}' for edge in estimate.size_m)
    lines = (
        f'{_name(estimate)}   {size} cm   {estimate.views_used} views',
        f'score {estimate.score:.2f}   seen {100 * estimate.seen_fraction:.0f} %   '
        f'IoU {estimate.self_check.silhouette_iou:.2f}'
        + ('   seen surface only' if estimate.observed_only else ''),
    )
    for number, line in enumerate(lines):
        color = color_of(estimate.id).tolist() if number == 0 else _DARK
        cv2.putText(tile, line, (8, 18 + 18 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1,
                    cv2.LINE_AA)  # fmt: skip
    return tile
