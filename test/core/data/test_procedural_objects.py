"""Families made by rule: closed, distinct, named, the same for a name, apart between splits."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from recon3d_core.data.ground_truth import occupancy
from recon3d_core.data.objects.base import LONGEST_EDGE, SPLITS
from recon3d_core.data.objects.procedural import (
    HOUSEHOLD,
    make_object,
    ProceduralObjects,
    SHAPENET13,
    split_of,
)
from recon3d_core.data.objects.procedural.families import FAMILIES
from recon3d_core.errors import InputError
from scipy import ndimage
import trimesh

SEEDS = 8


def test_the_families_are_those_of_the_r2n2_split_and_of_a_household():
    assert SHAPENET13 == (
        'airplane', 'bench', 'cabinet', 'car', 'chair', 'display', 'lamp', 'loudspeaker',
        'rifle', 'sofa', 'table', 'telephone', 'watercraft',
    )  # fmt: skip
    assert len(HOUSEHOLD) >= 20
    assert not set(SHAPENET13) & set(HOUSEHOLD)


@pytest.mark.parametrize('category', sorted(FAMILIES))
def test_every_solid_is_closed_and_turned_outwards(category):
    for seed in range(SEEDS):
        parts = FAMILIES[category](np.random.default_rng([seed, 7]))
        assert parts
        for part in parts:
            assert part.name
            for solid in part.solids:
                mesh = trimesh.Trimesh(solid.vertices_m, solid.faces, process=False)
                assert np.isfinite(solid.vertices_m).all()
                assert mesh.is_watertight, (seed, part.name)
                assert mesh.volume > 0, (seed, part.name)


@pytest.mark.parametrize('category', sorted(FAMILIES))
def test_objects_fill_their_cube_and_differ(category):
    volumes = []
    for index in range(SEEDS):
        model = make_object(f'procedural/{category}/{index:06d}')
        extent = np.ptp(model.mesh.vertices, axis=0)
        assert abs(extent.max() - LONGEST_EDGE) < 1e-4
        assert np.abs(model.mesh.vertices).max() <= LONGEST_EDGE / 2 + 1e-4
        assert 0.01 < model.edge_m < 300
        assert model.mesh.face_part is not None
        assert set(np.unique(model.mesh.face_part)) == set(range(len(model.mesh.part_names)))
        assert len(model.mesh.colors) == len(model.mesh.vertices)
        volumes.append(occupancy(model.mesh, 24))
    for a in range(SEEDS):
        same = [
            b
            for b in range(SEEDS)
            if b != a and (volumes[a] ^ volumes[b]).sum() < 0.03 * (volumes[a] | volumes[b]).sum()
        ]
        assert len(same) <= 1, (a, same)


def pieces(mesh, resolution=24):
    """Return how many pieces a mesh's surface and what it encloses have in voxels."""
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    points, _ = trimesh.sample.sample_surface(solid, 20_000, seed=0)
    index = ((points + 0.5) * resolution).astype(int).clip(0, resolution - 1)
    filled = np.zeros((resolution,) * 3, bool)
    filled[tuple(index.T)] = True
    return ndimage.label(ndimage.binary_fill_holes(filled), np.ones((3, 3, 3)))[1]


@pytest.mark.parametrize('category', sorted(FAMILIES))
def test_no_part_floats_in_the_air(category):
    for index in range(6):
        assert pieces(make_object(f'procedural/{category}/{index:06d}').mesh) == 1, index


def test_a_part_that_floats_would_be_found():
    box = trimesh.creation.box((0.2, 0.2, 0.2))
    for gap_m, count in ((0.0, 1), (0.1, 2)):
        other = box.copy().apply_translation((0, 0, 0.2 + gap_m))
        assert pieces(trimesh.util.concatenate([box, other])) == count


def test_a_name_says_everything():
    name = 'procedural/chair/000123'
    a, b = make_object(name), make_object(name)
    np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)
    np.testing.assert_array_equal(a.mesh.faces, b.mesh.faces)
    np.testing.assert_array_equal(a.mesh.colors, b.mesh.colors)
    # What it is must not change from one version to the next: weights name their data.
    assert a.split == split_of(name) == 'train'


def test_no_object_is_in_two_splits():
    objects = ProceduralObjects(counts={'train': 14, 'val': 6, 'test': 6})
    found: dict[bytes, str] = {}
    for split in SPLITS:
        for name in objects.names(split):
            assert split_of(name) == split
            vertices = np.round(objects.load(name).mesh.vertices, 3)
            key = hashlib.sha256(np.ascontiguousarray(vertices).tobytes()).digest()
            assert found.setdefault(key, split) == split, name
    assert len(found) >= 0.99 * 26 * len(FAMILIES)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('procedural/chiar/000001', "Did you mean 'chair'"),
        ('procedural/chair/1', 'six digits'),
        ('chair/000001', 'procedural/CATEGORY'),
    ],
)
def test_wrong_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        make_object(name)


def test_wrong_sets_are_refused():
    with pytest.raises(InputError, match='Did you mean'):
        ProceduralObjects(['tabel'])
    with pytest.raises(InputError, match='too many or few'):
        ProceduralObjects(counts={'val': -1})
    with pytest.raises(InputError, match='unknown split'):
        ProceduralObjects().names('dev')
