"""The protocol of Factored3D on hand-made cases, each wrong in one respect only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon3d_core.errors import InputError
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.metrics.instances import instance_ap
from recon3d_core.metrics.parsing import (
    box_iou_2d,
    CRITERIA,
    factored_ap,
    match_boxes_3d,
    PosedObject,
    rotation_error_rad,
)


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def half(share: float) -> np.ndarray:
    solid = np.zeros((8, 8, 8), bool)
    solid[: round(8 * share)] = True
    return solid


TRUE = PosedObject(
    (100, 100, 199, 149), make_transform(turned(10), (0.2, 0, 2)), np.full(3, 0.4), half(0.5)
)
# Just near enough, and just not, in one respect each.
NEAR = {
    'box': {'box_xyxy': (100, 100, 199, 126)},
    'rotation': {'T_camera_object': make_transform(turned(39), (0.2, 0, 2))},
    'translation': {'T_camera_object': make_transform(turned(10), (0.2, 0, 2.99))},
    'shape': {'occupancy': half(1.0)},
    'scale': {'size_m': np.full(3, 0.4 * 2**0.49)},
}
FAR = {
    'box': {'box_xyxy': (100, 100, 199, 123)},
    'rotation': {'T_camera_object': make_transform(turned(41), (0.2, 0, 2))},
    'translation': {'T_camera_object': make_transform(turned(10), (0.2, 0, 3.01))},
    'shape': {'occupancy': half(0.125)},
    'scale': {'size_m': np.full(3, 0.4 * 2**0.51)},
}


@pytest.mark.parametrize('name', CRITERIA)
def test_each_criterion_alone_decides(name):
    good = factored_ap([([dataclasses.replace(TRUE, **NEAR[name])], [TRUE])])
    assert all(value == 1 for value in good.values())
    bad = factored_ap([([dataclasses.replace(TRUE, **FAR[name])], [TRUE])])
    assert bad['all'] == 0
    assert {key: value for key, value in bad.items() if value} == {f'all - {name}': 1}


def test_precision_is_averaged_over_the_scores():
    wrong = dataclasses.replace(TRUE, box_xyxy=(0, 0, 20, 20), score=0.9)
    right = dataclasses.replace(TRUE, score=0.5)
    again = dataclasses.replace(TRUE, score=0.4)
    # The first is wrong, the second right, the third finds it taken; a second image is missed.
    found = factored_ap([([wrong, again, right], [TRUE]), ([], [TRUE])])
    assert found['all'] == pytest.approx(0.25)
    assert found['all - box'] == pytest.approx(0.5)
    assert np.isnan(factored_ap([([right], [])])['all'])


def test_of_two_that_fit_the_nearer_box_is_taken():
    beside = dataclasses.replace(TRUE, box_xyxy=(120, 100, 219, 149))
    first = dataclasses.replace(TRUE, box_xyxy=(115, 100, 214, 149), score=0.9)
    second = dataclasses.replace(TRUE, box_xyxy=(80, 100, 179, 149), score=0.8)
    assert factored_ap([([first, second], [TRUE, beside])])['all'] == 1


def test_rotations_that_look_the_same_are_no_error():
    back = dataclasses.replace(TRUE, T_camera_object=make_transform(turned(190), (0.2, 0, 2)))
    assert rotation_error_rad(back, TRUE) == pytest.approx(np.pi)
    same = dataclasses.replace(TRUE, same=np.stack([np.eye(3), turned(180)]))
    assert rotation_error_rad(back, same) == pytest.approx(0, abs=1e-6)


def test_boxes_in_the_image():
    assert box_iou_2d((0, 0, 9, 9), (0, 0, 9, 9)) == 1
    assert box_iou_2d((0, 0, 9, 9), (5, 0, 14, 9)) == pytest.approx(1 / 3)
    assert box_iou_2d((0, 0, 9, 9), (10, 0, 19, 9)) == 0


@dataclasses.dataclass
class Box:
    id: int
    T_world_object: np.ndarray
    size_m: np.ndarray


def test_average_precision_of_boxes():
    place = [make_transform(np.eye(3), (x, 0, 0)) for x in (0.0, 1.0, 2.0)]
    true = [Box(k, pose, np.ones(3) * 0.5) for k, pose in enumerate(place)]
    moved = Box(7, make_transform(np.eye(3), (0.1, 0, 0)), np.ones(3) * 0.5)
    match = match_boxes_3d([moved, true[1]], [0.9, 0.8], true)
    assert match.ious[0, 0] == pytest.approx(0.4 / 0.6)
    assert instance_ap([match], 0.5) == pytest.approx(2 / 3)
    assert instance_ap([match], 0.75) == pytest.approx(1 / 6)
    with pytest.raises(InputError, match='scores'):
        match_boxes_3d([moved], [], true)


def test_wrong_input_is_said():
    with pytest.raises(InputError, match='size_m'):
        dataclasses.replace(TRUE, size_m=np.zeros(3))
    with pytest.raises(InputError, match='occupancy'):
        factored_ap([([dataclasses.replace(TRUE, occupancy=np.ones((4, 4, 4), bool))], [TRUE])])
