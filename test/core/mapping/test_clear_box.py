"""A part of the map is forgotten: to the voxel, and what is seen again comes back."""

from __future__ import annotations

import numpy as np
import pytest
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.regions import Box
from recon3d_core.geometry.transforms import look_at, make_transform
from recon3d_core.mapping.tsdf import TsdfConfig, TsdfMapper
from recon3d_core.types import Frame

CAMERA = Camera(200, 120, 160.0, 165.0, 97.3, 61.8)
VOXEL_M = 0.02


def wall(distance_m=1.0):
    depth = np.full((CAMERA.height, CAMERA.width), distance_m, np.float32)
    rgb = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    return Frame(0, CAMERA, rgb, depth, np.eye(4))


@pytest.fixture
def mapper():
    made = TsdfMapper(TsdfConfig(voxel_size_m=VOXEL_M, min_weight=1.0))
    made.integrate(wall())
    return made


TURNED = look_at((0.05, 0.1, 0.9), (0.3, -0.2, 1.4))
BOXES = {
    'small': Box(make_transform(None, (0, 0, 1)), np.array([0.15, 0.12, 0.25])),
    'with whole blocks': Box(make_transform(None, (0.1, 0, 1)), np.array([0.6, 0.5, 0.7])),
    'turned': Box(make_transform(TURNED[:3, :3], (0, 0, 1)), np.array([0.5, 0.3, 0.4])),
}


@pytest.mark.parametrize('box', BOXES.values(), ids=list(BOXES))
def test_what_is_inside_is_gone_and_the_rest_stays(mapper, box):
    before = mapper.cloud().points_m
    mapper.clear_box(box)
    after = mapper.cloud().points_m
    assert np.count_nonzero(box.contains(before)) > 10
    # A point lies between two voxels, so that one may be left within a voxel of the side.
    assert not box.contains(after, -VOXEL_M).any()
    untouched = before[~box.contains(before, VOXEL_M)]
    known = {tuple(p) for p in np.round(after, 5).tolist()}
    assert all(tuple(p) in known for p in np.round(untouched, 5).tolist())
    assert box.contains(mapper.mesh().vertices_m, -VOXEL_M).sum() == 0


@pytest.mark.parametrize('box', BOXES.values(), ids=list(BOXES))
def test_what_is_seen_again_comes_back_as_new(mapper, box):
    fresh = TsdfMapper(TsdfConfig(voxel_size_m=VOXEL_M, min_weight=1.0))
    fresh.integrate(wall(1.05))
    mapper.clear_box(box)
    mapper.integrate(wall(1.05))
    inner = Box(box.T_world_box, box.size_m - 2.5 * VOXEL_M)
    # Nothing of the wall of before is averaged in.
    got, wanted = (m.cloud().points_m for m in (mapper, fresh))
    got, wanted = got[inner.contains(got)], wanted[inner.contains(wanted)]
    assert len(got) == len(wanted)
    if len(got):
        np.testing.assert_allclose(np.sort(got[:, 2]), np.sort(wanted[:, 2]), atol=1e-4)


def test_an_empty_map_and_a_box_far_away(mapper):
    TsdfMapper(TsdfConfig(voxel_size_m=VOXEL_M)).clear_box(BOXES['small'])
    before = len(mapper.cloud().points_m)
    mapper.clear_box(Box(make_transform(None, (50, 0, 0)), np.ones(3)))
    assert len(mapper.cloud().points_m) == before
