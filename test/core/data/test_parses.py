"""The set `parses`: rooms, boxes, poses and shapes agree with the images; alterations keep that."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from recon3d_core.data.scenes.composer import compose, draw_view
from recon3d_core.data.sets import load_dataset
from recon3d_core.data.sets.parses_alter import (
    altered,
    AlterParses,
    mirrored,
    with_false_boxes,
    zoomed,
)
from recon3d_core.data.sets.parses_drawn import is_round, LAYOUT_STEP
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import apply
from recon3d_core.metrics.parsing import box_iou_2d, factored_ap
from recon3d_core.models.factored3d.parsing import ParsedObject
from recon3d_core.training.parses_scores import found_objects, renamed, true_objects

NAME = 'scenes/val/000003'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Return the set with objects made by rule only: the collection is not needed."""
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECON3D_DATA', str(tmp_path_factory.mktemp('nothing')))
        found = load_dataset('parses', width=96, height=72, cache=str(folder), val_scenes=9)
        assert found.library.collection is None
        found.fingerprint()
    return found


@pytest.fixture(scope='module')
def view(data):
    return data.parse(NAME, 0)


def inclusive(box):
    """Return a box of outer edges as one of pixels, both ends inside."""
    return box[0], box[1], box[2] - 1, box[3] - 1


def pixels_of(view, number):
    """Return the pixels (n, 2) of the centres of an object's cells."""
    cells = (np.argwhere(view.occupancy[number]) + 0.5) / 32 - 0.5
    points = apply(view.T_camera_object[number].astype(float), cells * view.size_m[number])
    image = points @ view.K.T
    return image[:, :2] / image[:, 2:]


def reach(view, number):
    """Return the box of an object's cells in the image, outer edges."""
    pixels = pixels_of(view, number)
    return np.concatenate([pixels.min(0), pixels.max(0)]) + 0.5


def test_the_room_is_empty_and_objects_are_where_the_image_shows_them(data, view):
    scene = compose(NAME, data.library)
    drawn = draw_view(scene, 0, (96, 72))
    assert np.array_equal(view.rgb, drawn.rgb)
    depth, ids = drawn.seen.depth_m, drawn.seen.instances
    middle = np.s_[LAYOUT_STEP // 2 :: LAYOUT_STEP, LAYOUT_STEP // 2 :: LAYOUT_STEP]
    seen = 1 / np.maximum(depth[middle], 1e-6)
    free = (ids[middle] == 0) & (depth[middle] > 0)
    off = np.abs(view.layout - seen)[free] / seen[free]
    assert np.median(off) < 0.02
    assert (view.layout[~free] < 1.02 * seen[~free]).all(), 'a room is behind its objects'
    assert len(view.box_xyxy) >= 2
    for number in range(len(view.box_xyxy)):
        x0, y0, x1, y1 = reach(view, number)
        box = view.box_xyxy[number]
        assert box[0] > x0 - 1.5
        assert box[1] > y0 - 1.5
        assert box[2] < x1 + 1.5
        assert box[3] < y1 + 1.5


def test_records_are_kept_and_an_instance_can_be_sent_away(data, view):
    again = pickle.loads(pickle.dumps(data)).parse(NAME, 0)
    for one, other in zip(view, again, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(InputError, match='view of'):
        data.parse(NAME, 1)


def test_batches_follow_from_their_seed(data):
    first, again, other = (data.batch([NAME, NAME], 1, seed) for seed in (1, 1, 2))
    for key, values in first.tensors().items():
        assert values.equal(again.tensors()[key]), key
    assert not first.images.equal(other.images)
    assert len(first.boxes) == len(first.image_of) == len(first.occupancy)
    assert (first.boxes[:, 2:] > first.boxes[:, :2]).all()


def test_a_mirror_and_a_part_of_the_image_keep_poses_shapes_and_boxes_together(view):
    other, part = mirrored(view), zoomed(view, 10.0, 8.0, 1.25)
    assert np.allclose(np.linalg.det(other.T_camera_object[:, :3, :3]), 1, atol=1e-5)
    for number in range(len(view.box_xyxy)):
        x0, y0, x1, y1 = reach(view, number)
        assert np.allclose(reach(other, number), (96 - x1, y0, 96 - x0, y1), atol=1e-3)
    assert np.array_equal(mirrored(other).occupancy, view.occupancy)
    kept = [
        number
        for number, T in enumerate(view.T_camera_object)
        if any(np.array_equal(T, one) for one in part.T_camera_object)
    ]
    for at, number in enumerate(kept):
        wanted = (reach(view, number) - [10, 8, 10, 8]) * 1.25
        assert np.allclose(reach(part, at), wanted, atol=1e-3)
    assert part.layout.shape == view.layout.shape
    assert np.isclose(part.layout[9, 12], view.layout[9, 12], rtol=0.2)


def test_alterations_change_no_input_and_false_boxes_hold_no_object(view):
    before = pickle.dumps(view)
    rng = np.random.default_rng(0)
    one = with_false_boxes(altered(view, AlterParses(), rng), 6, rng)
    assert pickle.dumps(view) == before
    assert not one.is_true.all()
    for box in one.box_xyxy[~one.is_true]:
        for true in one.box_xyxy[one.is_true]:
            assert box_iou_2d(inclusive(box), inclusive(true)) < 0.25


def test_round_is_what_any_turn_leaves_as_it_is():
    at = (np.arange(32) + 0.5) / 32 - 0.5
    x, y, z = np.meshgrid(at, at, at, indexing='ij')
    cone = x**2 + y**2 < (0.5 * (0.5 - z)) ** 2
    size = np.array([0.1, 0.1, 0.2])
    assert is_round(cone, size)
    assert not is_round(cone, np.array([0.1, 0.2, 0.2]))
    assert not is_round(np.ones((32, 32, 32), bool), size)


def test_the_truth_with_renamed_axes_is_right_and_a_turned_object_is_not(view):
    true = true_objects(view)

    def score(turns, degrees):
        made = []
        for one in true:
            other = renamed(one, turns)
            c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
            T = other.T_camera_object.copy()
            T[:3, :3] = T[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
            x0, y0, x1, y1 = one.box_xyxy
            box = (x0, y0, x1 + 1, y1 + 1)
            cells = other.occupancy.astype(np.float32)
            made.append(ParsedObject(box, T, other.size_m, cells, 0.9))
        return factored_ap([(found_objects(made, 0.5, true), true)])

    for turns in range(4):
        assert score(turns, 0)['all'] == 1
    turned = score(0, 40)
    assert turned['all'] < 1
    assert turned['all - rotation'] == 1
