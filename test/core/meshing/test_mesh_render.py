"""Ray-cast depth and pictures against closed forms; non-square images and crops."""

import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import look_at, make_transform
from recon3d_core.meshing.render import cast_mesh, render_mesh
from recon3d_core.types import Mesh
import trimesh

CAMERA = Camera(160, 90, 120.0, 125.0, 70.3, 47.8)
T_WORLD_CAMERA = look_at((2.0, 1.0, 0.7), (0.0, 0.1, 0.0))
EMPTY = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))


def to_mesh(solid, rgb=None):
    colors = None if rgb is None else np.tile(np.uint8(rgb), (len(solid.vertices), 1))
    return Mesh(solid.vertices.astype(np.float32), solid.faces.astype(np.int32), colors)


def sphere_depth_m(camera, T_world_camera, center, radius):
    """Closed form: nearest root of |z ray - c|^2 = r^2 for rays scaled to z = 1."""
    y, x = np.mgrid[: camera.height, : camera.width]
    rays = camera.unproject(np.stack([x, y], -1), np.ones(x.shape))
    c = T_world_camera[:3, :3].T @ (np.asarray(center) - T_world_camera[:3, 3])
    a, b = (rays**2).sum(-1), rays @ c
    root = b * b - a * (c @ c - radius**2)
    return np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)


@pytest.mark.parametrize(
    'camera',
    [
        CAMERA,
        Camera(160, 90, 120.0, 125.0, 70.3, 47.8, 'plumb_bob', (0.1, -0.05, 0.001, 0.002, 0.0)),
    ],
    ids=['pinhole', 'distorted'],
)
def test_depth_of_a_sphere(camera):
    mesh = to_mesh(trimesh.creation.icosphere(5, 0.4))
    depth = cast_mesh(mesh, camera, T_WORLD_CAMERA)
    truth = sphere_depth_m(camera, T_WORLD_CAMERA, (0, 0, 0), 0.4)
    both = (depth > 0) & (truth > 0)
    assert depth.shape == (90, 160)
    assert depth.dtype == np.float32
    assert both.sum() > 1000
    # The rim is one pixel wide, where the facets cut inside the sphere.
    assert ((depth > 0) ^ (truth > 0)).sum() < 10
    assert np.median(np.abs(depth - truth)[both]) < 2e-4


def test_crop_is_the_part_of_the_whole():
    mesh = to_mesh(trimesh.creation.box((0.5, 0.4, 0.3)))
    whole = cast_mesh(mesh, CAMERA, T_WORLD_CAMERA)
    part = cast_mesh(mesh, CAMERA.cropped(41, 13, 57, 66), T_WORLD_CAMERA)
    assert (part > 0).sum() > 500
    np.testing.assert_allclose(part, whole[13:79, 41:98], atol=1e-6)


def test_nearer_mesh_hides_the_farther_and_colors_mix():
    red = to_mesh(trimesh.creation.box((0.2, 0.2, 0.2)), (255, 0, 0))
    blue = to_mesh(trimesh.creation.box((1, 1, 0.1)).apply_translation((0, 0, 1)), (0, 0, 255))
    T = make_transform(translation=(0, 0, -1))
    rgb, depth = render_mesh([EMPTY, blue, red], CAMERA, T, (1, 2, 3))
    assert depth[47, 70] == pytest.approx(0.9, abs=1e-5)
    assert depth[47, 90] == pytest.approx(1.95, abs=1e-5)
    assert tuple(rgb[47, 90] > 100) == (False, False, True)
    assert tuple(rgb[47, 70] > 100) == (True, False, False)
    assert tuple(rgb[0, 0]) == (1, 2, 3)
    assert depth[0, 0] == 0


def test_vertex_colors_are_interpolated():
    corners = np.float32([[-1, -1, 1], [1, -1, 1], [0, 1, 1]])
    mesh = Mesh(corners, np.int32([[0, 1, 2]]), np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255]]))
    rgb, _ = render_mesh([mesh], CAMERA, np.eye(4))
    x, y = CAMERA.project(corners.astype(np.float64).mean(0)).round().astype(int)
    assert np.ptp(rgb[y, x].astype(int)) < 6
    left, right = rgb[10, 20].astype(int), rgb[10, 120].astype(int)
    assert left[0] > left[1] + 30
    assert right[1] > right[0] + 30


def test_nothing_to_draw():
    background = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    kept = background.copy()
    rgb, depth = render_mesh([EMPTY], CAMERA, np.eye(4), background)
    rgb[0, 0] = 0
    assert not depth.any()
    np.testing.assert_array_equal(background, kept)
    assert not cast_mesh(EMPTY, CAMERA, np.eye(4)).any()
