"""The synthetic source: exact geometry, truth, options, and the same frames for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.data import load_source
from recon3d_core.data.synth import scenes
from recon3d_core.data.synth.layout import footprint, separation_m
from recon3d_core.data.synth.paths import disturbed
from recon3d_core.data.synthetic import parse_uri, SyntheticConfig, SyntheticSource
from recon3d_core.errors import ConfigError, SourceError
from recon3d_core.geometry.grids import grid_around
from recon3d_core.geometry.transforms import apply, invert
import trimesh

SMALL = 'width=160&height=112&frames=6'


@pytest.fixture(scope='module')
def table():
    return SyntheticSource(f'tabletop_01?{SMALL}&masks=true')


@pytest.fixture(scope='module')
def exact():
    return SyntheticSource(f'tabletop_03?{SMALL}&noise=0')


def test_frames_are_complete_and_valid(table):
    frames = list(table)
    assert len(frames) == len(table) == 6
    for frame in frames:
        checked = frame.checked()
        assert checked.rgb.shape == (112, 160, 3)
        assert checked.depth_m.shape == (112, 160)
        np.testing.assert_array_equal(frame.gravity_world, (0, 0, -1))
        assert frame.rgb.std() > 20
        assert 0.7 < (frame.depth_m > 0).mean() < 1
    stamps = np.diff([frame.stamp_ns for frame in frames])
    np.testing.assert_allclose(stamps, 1e9 / 15, atol=1)


def test_iterating_again_and_another_source_give_equal_bits(table):
    again = SyntheticSource(f'synthetic:tabletop_01?{SMALL}&masks=true')
    for a, b, c in zip(table, table, again):
        for other in (b, c):
            np.testing.assert_array_equal(a.rgb, other.rgb)
            np.testing.assert_array_equal(a.depth_m, other.depth_m)
            np.testing.assert_array_equal(a.T_world_camera, other.T_world_camera)
            np.testing.assert_array_equal(a.truth.instance_mask, other.truth.instance_mask)


def test_the_seed_changes_noise_but_not_a_fixed_scene(table):
    other = SyntheticSource(f'tabletop_01?{SMALL}&seed=5')
    a, b = table.frame(2), other.frame(2)
    np.testing.assert_array_equal(a.truth.depth_exact_m, b.truth.depth_exact_m)
    assert (a.depth_m != b.depth_m).mean() > 0.3


def test_the_seed_changes_a_free_scene():
    boxes = []
    for seed in (0, 1):
        objects = SyntheticSource(f'tabletop?{SMALL}&seed={seed}').objects
        assert 5 <= len(objects) <= 8
        boxes.append(sorted(tuple(truth.size_m) for truth in objects.values()))
    assert boxes[0] != boxes[1]


def test_depth_lies_on_the_surface_of_the_object_that_the_mask_names(exact):
    for frame in exact:
        truth = frame.truth
        np.testing.assert_array_equal(frame.depth_m, truth.depth_exact_m)
        points = apply(frame.T_world_camera, frame.camera.points(frame.depth_m))
        for instance in np.unique(truth.instance_mask[truth.instance_mask > 0]):
            seen = points[truth.instance_mask == instance]
            scene = truth.objects[instance].scene
            assert scene.compute_distance(seen.astype(np.float32)).numpy().max() < 1e-4


def test_a_true_point_projects_into_its_mask(exact):
    truth = exact.objects[1]
    frame = exact.frame(0)
    camera_points = apply(
        invert(frame.T_world_camera), truth.mesh.vertices_m.mean(0, keepdims=True)
    )
    x, y = np.rint(frame.camera.project(camera_points)[0]).astype(int)
    assert frame.truth.instance_mask[y, x] == 1


def test_masks_come_only_where_asked_for(table, exact):
    frame = table.frame(1)
    assert frame.masks
    for instance, mask in frame.masks.items():
        np.testing.assert_array_equal(mask, frame.truth.instance_mask == instance)
        assert frame.labels[instance] == table.objects[instance].category
    assert exact.frame(0).masks is None
    assert exact.frame(0).labels is None


@pytest.mark.parametrize('name', [*scenes.BENCHMARK_SCENES, 'clutter', 'room', 'single_chair'])
def test_objects_stand_on_their_support_and_touch_no_other(name):
    scene = scenes.build(name, 3)
    truths = list(scene.objects.values())
    outlines = [footprint(truth.mesh) for truth in truths]
    for i, truth in enumerate(truths):
        low, high = truth.mesh.vertices_m.min(0), truth.mesh.vertices_m.max(0)
        assert low[2] == pytest.approx(scene.support_height_m, abs=1e-5)
        assert truth.size_m[2] == pytest.approx(high[2] - low[2], abs=1e-5)
        local = apply(invert(truth.T_world_object), truth.mesh.vertices_m.astype(float))
        np.testing.assert_allclose(local.max(0), truth.size_m / 2, atol=1e-5)
        np.testing.assert_allclose(local.min(0), -truth.size_m / 2, atol=1e-5)
        for j in range(i):
            assert separation_m(outlines[i], outlines[j]) > 0.01


def test_occupancy_has_the_volume_of_the_mesh():
    for name in ('single_mug', 'single_bowl', 'single_torus'):
        truth = scenes.build(name, 1).objects[1]
        grid = grid_around(truth.mesh.vertices_m, 0.002, 0.01)
        inside = truth.occupancy(grid)
        assert inside.shape == grid.shape
        solid = trimesh.Trimesh(truth.mesh.vertices_m, truth.mesh.faces, process=False)
        assert inside.sum() * 0.002**3 == pytest.approx(solid.volume, rel=0.05)


def test_objects_are_shared_by_frames(table):
    assert table.frame(0).truth.objects is table.frame(1).truth.objects


def test_the_camera_sees_all_objects_from_all_sides():
    for name in scenes.BENCHMARK_SCENES:
        source = SyntheticSource(f'{name}?width=96&height=72&frames=8&noise=0')
        views = np.zeros(len(source.objects) + 1)
        for frame in source:
            views[np.unique(frame.truth.instance_mask)] += 1
        assert (views[1:] >= 5).all(), name
        forward = source.T_world_camera[:, :2, 2]
        assert np.abs(forward.mean(0)).max() < 0.05, 'a full circle'


def test_inputs_can_be_left_out():
    frame = SyntheticSource(f'single_can?{SMALL}&depth=false&pose=false').frame(0)
    assert frame.inputs == {'rgb', 'intrinsics'}
    assert frame.gravity_world is None


def test_pose_noise_is_applied_and_the_truth_stays_exact():
    source = SyntheticSource(f'single_can?{SMALL}&pose_noise_m=0.01&pose_noise_rad=0.02')
    offsets = []
    for frame in source:
        frame.checked()
        offsets.append(invert(frame.truth.T_world_camera) @ frame.T_world_camera)
    assert np.ptp([offset[:3, 3] for offset in offsets]) > 0.002
    rng = np.random.default_rng(0)
    errors = [disturbed(np.eye(4), 0.01, 0.02, rng) for _ in range(2000)]
    assert np.std([error[:3, 3] for error in errors]) == pytest.approx(0.01, rel=0.05)
    angles = [np.arccos(np.clip((np.trace(e[:3, :3]) - 1) / 2, -1, 1)) for e in errors]
    assert np.sqrt(np.mean(np.square(angles))) == pytest.approx(0.02 * np.sqrt(3), rel=0.05)
    np.testing.assert_array_equal(disturbed(np.eye(4), 0, 0, rng), np.eye(4))


@pytest.mark.parametrize('path', ['orbit', 'arc', 'drive'])
def test_a_room_can_be_driven_and_circled(path):
    source = SyntheticSource(f'room?{SMALL}&path={path}&distance_m=1.9')
    poses = source.T_world_camera
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    assert steps.min() > 0.1
    inside = np.abs(poses[:, :2, 3] - scenes.CENTER) < scenes.HALF_ROOM_M - 0.1
    assert inside.all(), 'the camera is in a wall'
    if path == 'drive':
        np.testing.assert_allclose(steps, steps.mean(), rtol=0.1)
    if path == 'arc':
        angle = np.arctan2(*(poses[:, :2, 3] - scenes.CENTER).T)
        assert np.ptp(np.unwrap(angle)) == pytest.approx(np.radians(120), abs=1e-6)


def test_load_source_finds_it_and_options_in_the_uri_win():
    source = load_source(f'synthetic:single_box?{SMALL}', frames=9, seed=4)
    assert (len(source), source.config.seed) == (6, 4)
    assert SyntheticSource.accepts('synthetic:x')
    assert not SyntheticSource.accepts('frames/x')


@pytest.mark.parametrize(
    ('uri', 'error', 'text'),
    [
        ('tabletopp', SourceError, "'tabletop'"),
        ('single_mugg', SourceError, "'single_mug'"),
        ('', SourceError, 'tabletop_01'),
        ('tabletop?frame=3', ConfigError, "'frames'"),
        ('tabletop?frames=0', ConfigError, 'frames'),
        ('tabletop?noise=loud', ConfigError, 'noise'),
        ('tabletop?frames', SourceError, 'option=value'),
        ('tabletop?frames={', SourceError, 'option=value'),
        ('tabletop?path=drive', SourceError, 'orbit'),
        ('tabletop?distance_m=0.3&height_m=0.5', SourceError, 'height_m'),
    ],
)
def test_bad_names_and_options_say_what_to_do(uri, error, text):
    with pytest.raises(error) as caught:
        SyntheticSource(uri)
    assert text in str(caught.value)
    assert '\n' not in str(caught.value)


def test_parse_uri():
    assert parse_uri('synthetic:room?seed=3&masks=true') == ('room', {'seed': 3, 'masks': True})
    assert parse_uri('room') == ('room', {})


def test_frames_beyond_the_end_are_refused(table):
    with pytest.raises(IndexError):
        table.frame(6)


def test_every_option_is_described():
    for field in SyntheticConfig.model_fields.values():
        assert field.description
