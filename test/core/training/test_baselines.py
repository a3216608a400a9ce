"""Baselines against slow, obvious computations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from recon3d_core import metrics
from recon3d_core.data.samples import collate
from recon3d_core.errors import InputError
from recon3d_core.models.baselines.base import BaselineConfig, TrainingShapes
from recon3d_core.models.baselines.features import describe, oriented_gradients
from recon3d_core.models.baselines.hulls import ConvexHull, filled, VisualHull, voxel_centers
from recon3d_core.models.baselines.remembered import (
    gather,
    MeanShape,
    OracleRetrieval,
    Retrieval,
)
from scipy.spatial import Delaunay
import solids
import torch

SMALL = BaselineConfig(resolution=16)
DATA = solids.Solids('', solids.SolidsConfig())


def batch_of(count=4, views=5, split='test'):
    return collate([DATA.sample(name, views) for name in DATA.names(split)[:count]])


@pytest.fixture(scope='module')
def shapes():
    return gather(DATA, 20, 3, 16)


def test_training_objects_are_remembered_in_order(shapes):
    assert shapes.occupancy.shape == (20, 16, 16, 16)
    assert shapes.features.shape[:2] == (20, 3)
    names = DATA.names('train')
    first = DATA.sample(names[0], 1).occupancy
    last = DATA.sample(names[-1], 1).occupancy
    np.testing.assert_array_equal(shapes.occupancy[0], first)
    np.testing.assert_array_equal(shapes.occupancy[-1], last)


def test_the_mean_shape_is_the_mean_whatever_is_seen(shapes):
    model = MeanShape(SMALL)
    model.fit(shapes)
    batch = batch_of()
    found = model(model.preprocess(batch.images, batch.masks), batch.cameras)
    expected = shapes.occupancy.float().mean(0)
    for one in found:
        torch.testing.assert_close(one, expected)


def test_the_oracle_is_the_best_of_all(shapes):
    model = OracleRetrieval(SMALL)
    model.fit(shapes)
    batch = batch_of()
    model.reveal(batch.occupancy)
    found = model(model.preprocess(batch.images, batch.masks), batch.cameras)
    for one, truth in zip(found, batch.occupancy):
        best = max(float(metrics.iou(known.float(), truth)) for known in shapes.occupancy)
        assert float(metrics.iou(one, truth)) == pytest.approx(best)


def test_a_training_object_finds_itself():
    """The very views that are remembered: the nearest is at distance 0."""
    batch = batch_of(6, 2, 'train')
    model = Retrieval(SMALL)
    views = model.preprocess(batch.images, batch.masks)
    features = describe(views.flatten(0, 1)).reshape(6, 2, -1)
    model.fit(TrainingShapes(batch.occupancy > 0.5, features))
    torch.testing.assert_close(model(views), batch.occupancy)
    torch.testing.assert_close(model(views[:, :1]), batch.occupancy)


def test_retrieval_is_that_of_a_plain_loop(shapes):
    model, batch = Retrieval(SMALL), batch_of()
    model.fit(shapes)
    views = model.preprocess(batch.images, batch.masks)
    for one, found in zip(views, model(views)):
        features, totals = describe(one), []
        for known in shapes.features:
            totals.append(sum(min(float((f - k).norm()) for k in known) for f in features))
        torch.testing.assert_close(found, shapes.occupancy[int(np.argmin(totals))].float())


def test_gradients_vote_for_their_directions():
    grey = torch.zeros(2, 64, 64)
    grey[0, :, 32:] = 1  # an edge from top to bottom: its gradient points across
    grey[1, 32:] = 1
    across, down = oriented_gradients(grey).reshape(2, 9, 8, 8).sum((2, 3))
    assert across.argmax() == 0
    assert across[0] > 0.99 * across.sum()
    # 90 degrees lie between the bins of 80 and 100 degrees.
    assert set(down.topk(2).indices.tolist()) == {4, 5}


def plain_hull(sample, views, n):
    """Return the hull by projecting voxel after voxel; the nearest pixel decides."""
    hull = np.ones((n, n, n), bool)
    size = sample.masks.shape[-1]
    for place in np.ndindex(n, n, n):
        point = np.append((np.array(place) + 0.5) / n - 0.5, 1.0)
        for k in range(views):
            camera = (sample.T_camera_cube[k] @ point)[:3]
            u, v, w = sample.K[k] @ camera
            column, row = int(np.floor(u / w * size)), int(np.floor(v / w * size))
            inside = 0 <= column < size and 0 <= row < size and camera[2] > 0
            hull[place] &= bool(inside and sample.masks[k, row, column] > 127)
    return hull


@pytest.mark.parametrize('views', [1, 3])
def test_the_visual_hull_is_that_of_a_plain_loop(views):
    batch = batch_of(2, views)
    model = VisualHull(SMALL)
    found = model(model.preprocess(batch.images, batch.masks), batch.cameras)
    for one, name in zip(found, batch.names):
        expected = plain_hull(DATA.sample(name, views), views, 16)
        # Bilinear coverage and the nearest pixel may differ on the outline itself.
        assert ((one >= 0.5).numpy() != expected).mean() < 0.02


def test_hulls_contain_the_object_and_shrink():
    batch = batch_of(6, 8)
    for model in (VisualHull(SMALL), ConvexHull(SMALL)):
        views = model.preprocess(batch.images, batch.masks)
        state, before = model.start(6), torch.ones(6, 16, 16, 16)
        for k in range(8):
            state = model.observe(state, views[:, k], batch.cameras.view(k))
            now = model.probabilities(state)
            assert (now <= before + 1e-6).all()
            before = now
        kept = ((before >= 0.5) & (batch.occupancy > 0.5)).sum() / batch.occupancy.sum()
        assert kept > 0.97


def test_what_is_outside_of_an_image_is_not_of_the_object():
    """Half of the image is cut away: the voxels that it showed are gone."""
    batch = batch_of(1, 1)
    half = batch.cameras.K.clone()
    half[..., 0, :] *= 2  # the left half, as an image of its own
    model = VisualHull(SMALL)
    full = torch.ones(1, 1, 1, 32, 32)
    cameras = type(batch.cameras)(half, batch.cameras.T_camera_cube)
    found = model(full, cameras)[0]
    u = batch.cameras.project(voxel_centers(16))[0][0, 0, :, 0].reshape(16, 16, 16)
    assert not (found[u > 0.52] >= 0.5).any()
    assert (found[(u < 0.48) & (u > 0.02)] > 0.45).float().mean() > 0.9


@given(st.integers(0, 10_000), st.integers(4, 30))
def test_the_convex_hull_is_scipys(seed, count):
    rng = np.random.default_rng(seed)
    volume = torch.zeros(8, 8, 8)
    places = rng.integers(0, 8, (count, 3))
    volume[tuple(places.T)] = 1
    points = voxel_centers(8).numpy()
    inside = volume.flatten().numpy() > 0.5
    found = filled(volume)
    assert (found[volume > 0.5] == 1).all()
    if np.linalg.matrix_rank(points[inside] - points[inside].mean(0), 1e-6) == 3:
        expected = Delaunay(points[inside]).find_simplex(points, tol=1e-6) >= 0
        np.testing.assert_array_equal(found.flatten().numpy() > 0.5, expected | inside)


@pytest.mark.parametrize('cells', [[], [(1, 1, 1)], [(1, 1, 1), (5, 1, 1), (1, 5, 1), (5, 5, 1)]])
def test_flat_and_empty_volumes_stay_as_they_are(cells):
    volume = torch.zeros(8, 8, 8)
    for cell in cells:
        volume[cell] = 1
    torch.testing.assert_close(filled(volume), volume)


def test_hulls_need_masks_and_cameras():
    batch = batch_of(1, 1)
    model = VisualHull(SMALL)
    with pytest.raises(InputError, match='needs masks'):
        model.preprocess(batch.images)
    with pytest.raises(InputError, match='needs cameras'):
        model(model.preprocess(batch.images, batch.masks))


@pytest.mark.parametrize('kind', [MeanShape, Retrieval, OracleRetrieval])
def test_what_remembers_nothing_knows_nothing(kind):
    model, batch = kind(SMALL), batch_of(2, 1)
    found = model(model.preprocess(batch.images, batch.masks), batch.cameras)
    assert (found == 0.5).all()
