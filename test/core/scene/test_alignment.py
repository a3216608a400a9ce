"""Aligning views to an object: known motions, symmetric shapes, and what must be refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.transforms import apply, look_at, make_transform
from recon3d_core.scene.alignment import align_view, register, Surface
from recon3d_core.scene.options import AlignmentOptions
from recon3d_core.types import Frame, View
from scipy.spatial.transform import Rotation

OPTIONS = AlignmentOptions()


def _box(count: int = 1500, seed: int = 0, noise_m: float = 0.001) -> Surface:
    """Return three faces of a box of 20 x 12 x 8 cm, as a camera sees it."""
    rng = np.random.default_rng(seed)
    size = np.array([0.2, 0.12, 0.08])
    points = rng.uniform(-0.5, 0.5, (count, 3)) * size
    face = np.arange(count) % 3
    points[np.arange(count), face] = size[face] / 2 + rng.normal(0, noise_m, count)
    return Surface(points.astype(np.float32), np.eye(3, dtype=np.float32)[face])


shift = st.floats(-0.015, 0.015)
turn = st.floats(-0.06, 0.06)


@given(st.tuples(shift, shift, shift), st.tuples(turn, turn, turn))
def test_undoes_a_small_motion(offset: tuple, angles: tuple) -> None:
    model, surface = _box(), _box(400, seed=1)
    seen = surface.points_m.astype(np.float64)
    drift = make_transform(Rotation.from_rotvec(angles).as_matrix(), offset)
    moved = apply(drift, seen)
    correction, _ = register(moved, model, OPTIONS)
    if correction is None:
        # Nothing to gain: most of the points slide along their faces.
        off = np.abs(((moved - seen) * surface.normals).sum(1))
        assert np.median(off) < 0.008
    else:
        left = np.linalg.norm(apply(correction, moved) - seen, axis=1)
        assert np.median(left) < 0.003


def test_a_true_pose_is_left_alone() -> None:
    seen = _box(400, seed=1, noise_m=0.003).points_m.astype(np.float64)
    assert register(seen, _box(noise_m=0.003), OPTIONS)[0] is None


def test_a_plane_does_not_slide() -> None:
    rng = np.random.default_rng(0)
    flat = rng.uniform(-0.1, 0.1, (1000, 3)) * (1, 1, 0)
    model = Surface(flat.astype(np.float32), np.tile(np.float32([0, 0, 1]), (1000, 1)))
    correction, _ = register(flat[:300] + np.array([0, 0, 0.01]), model, OPTIONS)
    assert correction is not None
    np.testing.assert_allclose(correction[:3, 3], (0, 0, -0.01), atol=5e-4)


@pytest.mark.parametrize('offset', [0.06, 0.3])
def test_far_away_is_refused(offset: float) -> None:
    seen = _box(400, seed=1).points_m.astype(np.float64)
    assert register(seen + np.array([offset, offset, 0]), _box(), OPTIONS)[0] is None


def test_another_shape_is_refused() -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(400, 3))
    ball *= 0.05 / np.linalg.norm(ball, axis=1, keepdims=True)
    correction, _ = register(ball, _box(), OPTIONS)
    assert correction is None or np.linalg.norm(correction[:3, 3]) < OPTIONS.max_shift_m


def test_the_back_of_a_thin_thing_is_not_brought_onto_its_front() -> None:
    rng = np.random.default_rng(0)
    flat = (rng.uniform(-0.1, 0.1, (1500, 3)) * (1, 0, 1)).astype(np.float32)
    front = Surface(flat, np.tile(np.float32([0, -1, 0]), (1500, 1)))
    camera = Camera(160, 120, 200.0, 200.0, 79.5, 59.5)
    mask = np.zeros((120, 160), bool)
    mask[40:80, 60:100] = True
    for eye_y, moves in ((0.5, False), (-0.5, True)):
        depth = np.full((120, 160), 0.47, np.float32)  # 3 cm off the front, on the camera's side
        pose = look_at((0.0, eye_y, 0.0), (0.0, 0.0, 0.0))
        frame = Frame(0, camera, depth_m=depth, T_world_camera=pose)
        view, misfit_m = align_view(front, View(frame, mask, (60, 40, 99, 79)), OPTIONS)
        assert (misfit_m is not None) == moves
        assert np.array_equal(view.frame.pose, pose) != moves
