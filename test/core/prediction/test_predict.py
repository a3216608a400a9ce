"""`recon3d predict` on good input: files, place, colours, confidence, what it prints."""

from __future__ import annotations

import json
from pathlib import Path
import re

import cv2
import numpy as np
from predict_inputs import photo, posed_photos, random_weights, save_json, save_rgb
import pytest
from quick_networks import quick_weights
from recon3d_core.cli.main import exit_code
from recon3d_core.fusion._crops import Crop
from recon3d_core.prediction.confidence import Confidence, expected_iou, likeliest_agreement
from recon3d_core.prediction.poses import read_poses
from recon3d_core.prediction.predict import predict
from tabletop import tabletop
import trimesh

FILES = ['object.glb', 'object.ply', 'occupancy.npz', 'preview.png', 'summary.json']


def test_files_of_a_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = save_rgb(tmp_path / 'thing.png', photo())
    out = tmp_path / 'new' / 'out'
    arguments = ['predict', str(image), '--weights', str(random_weights('pix2vox_s'))]
    assert exit_code([*arguments, '--out', str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == FILES
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['model'] == 'pix2vox_s'
    assert summary['views_used'] == 1
    assert summary['unit'] == 'edge of the cube'
    assert summary['weights']['metrics'] == {'iou_1': 0.0}
    [view] = summary['views']
    assert view['mask'] == 'segmentation'
    assert view['mask_confidence'] > 0.7
    x0, y0, x1, y1 = view['crop_xyxy_px']
    assert x0 < 40 < 80 < x1 < 100
    assert y0 < 25 < 65 < y1 < 90
    mesh = trimesh.load(out / 'object.glb', force='mesh')
    assert summary['watertight'] == mesh.is_watertight
    assert mesh.bounds == pytest.approx(trimesh.load(out / 'object.ply').bounds, abs=1e-5)
    assert np.abs(mesh.visual.vertex_colors[0, :3].astype(int) - (40, 60, 150)).max() < 10
    stored = np.load(out / 'occupancy.npz')
    assert stored['occupancy'].shape == (32, 32, 32)
    assert cv2.imread(str(out / 'preview.png')).shape[1] > 500
    printed = capsys.readouterr()
    assert f'confidence {summary["confidence"]:.2f}' in printed.out
    assert summary['advice'] in printed.err
    assert exit_code([*arguments, '--out', str(out)]) == 0  # again, over what is there
    assert sorted(path.name for path in out.parent.iterdir()) == ['out']


def test_views_with_poses_give_a_place_in_metres(tmp_path: Path) -> None:
    images, masks, poses = posed_photos(tmp_path, 'cylinder', 4)
    found = predict(
        images,
        masks,
        save_json(tmp_path / 'poses.json', poses),
        weights=str(quick_weights('posed_fusion')),
    )
    truth = tabletop('cylinder').solid.bounds
    low, high = found.mesh.vertices_m.min(0), found.mesh.vertices_m.max(0)
    assert np.abs((low + high) / 2 - truth.mean(0)).max() < 0.03
    assert np.abs((high - low) - (truth[1] - truth[0])).max() < 0.06
    assert found.confidence.agreement > 0.6
    assert found.metric
    assert found.expected_change is not None
    # Seen by all cameras: as red as it is.
    assert np.median(found.mesh.colors, 0) == pytest.approx((200, 40, 40), abs=25)


def test_a_given_cube_is_used_and_names_order_the_views(tmp_path: Path) -> None:
    images, masks, poses = posed_photos(tmp_path, 'box', 2)
    weights = str(random_weights('posed_fusion'))
    for view, image in zip(poses['views'], images):
        view['image'] = image.name
    poses['cube'] = {'center': [0.0, 0.0, 0.04], 'edge': 0.3, 'up': [0, 0, 2]}
    first = predict(images, masks, save_json(tmp_path / 'a.json', poses), weights=weights)
    poses['views'].reverse()
    second = predict(images, masks, save_json(tmp_path / 'b.json', poses), weights=weights)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert first.grid.extent_m == pytest.approx([0.3] * 3)
    assert first.grid.centers_world_m().reshape(-1, 3).mean(0) == pytest.approx(
        [0, 0, 0.04], abs=1e-5
    )


def test_poses_of_an_rgbd_folder(tmp_path: Path) -> None:
    images, masks, poses = posed_photos(tmp_path, 'box', 2)
    for image, view in zip(images, poses['views']):
        np.savetxt(tmp_path / f'{image.stem}.pose.txt', view['T_world_camera'])
    np.savetxt(tmp_path / 'camera-intrinsics.txt', poses['views'][0]['K'])
    weights = str(random_weights('posed_fusion'))
    from_folder = predict(images, masks, tmp_path, weights=weights)
    from_json = predict(images, masks, save_json(tmp_path / 'p.json', poses), weights=weights)
    np.testing.assert_allclose(from_folder.probabilities, from_json.probabilities, atol=1e-4)


def test_a_network_without_poses_says_that_it_ignores_them(tmp_path: Path) -> None:
    images, masks, poses = posed_photos(tmp_path, 'box', 2)
    path = save_json(tmp_path / 'p.json', poses)
    weights = str(random_weights('pix2vox_s'))
    found = predict(images, masks, path, 'pix2vox_s', weights)
    assert 'does not use poses' in found.notes[0]
    bare = predict(images, masks, None, 'pix2vox_s', weights)
    np.testing.assert_array_equal(found.probabilities, bare.probabilities)


def test_the_threshold_moves_the_surface(tmp_path: Path) -> None:
    image = save_rgb(tmp_path / 'thing.png', photo())
    weights = str(random_weights('pix2vox_s'))
    sizes = [
        int((predict([image], weights=weights, threshold=t).probabilities >= 0.5).sum())
        for t in (0.05, 0.12, 0.9)
    ]
    assert sizes[0] >= sizes[1] >= sizes[2]
    assert sizes[0] > sizes[2]
    nothing = predict([image], weights=weights, threshold=0.999)
    assert 'no voxel reached the threshold' in nothing.notes[0]
    assert nothing.confidence.value < 0.05
    assert len(nothing.mesh.faces)


def ball(n: int = 32) -> np.ndarray:
    axis = (np.arange(n) + 0.5) / n - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing='ij')
    return x**2 + y**2 + z**2 < 0.16


def crop(mask: np.ndarray) -> Crop:
    return Crop(np.zeros((*mask.shape, 3), np.uint8), mask, np.eye(3), np.eye(4), whole=True)


def test_expected_iou_is_the_mean_iou_of_draws() -> None:
    rng = np.random.default_rng(0)
    sure = ball().astype(np.float32)
    assert expected_iou(sure, 0.5) == 1
    p = np.clip(np.where(ball(), 0.8, 0.1) + rng.normal(0, 0.05, sure.shape), 0, 1)
    inside = p >= 0.5
    draws = [rng.random(p.shape) < p for _ in range(20)]
    mean = np.mean([(d & inside).sum() / (d | inside).sum() for d in draws])
    assert expected_iou(p, 0.5) == pytest.approx(mean, abs=0.01)
    assert expected_iou(np.zeros((4, 4, 4)), 0.5) == 0


def test_outlines_tell_a_ball_from_a_bar() -> None:
    disc, bar = np.zeros((96, 96), np.uint8), np.zeros((96, 96), np.uint8)
    cv2.circle(disc, (48, 48), 35, 255, -1)
    bar[42:54, 10:86] = 255
    assert likeliest_agreement(ball(), [crop(disc)]) > 0.93
    assert likeliest_agreement(ball(), [crop(bar)]) < 0.35


def test_advice_names_the_worst() -> None:
    assert Confidence(0.9, 1.0, 0.9).advice(3) == ''
    assert 'more views' in Confidence(0.2, 1.0, 0.9).advice(1)
    assert '--mask' in Confidence(0.9, 0.3, 0.9).advice(1)
    assert 'outlines' in Confidence(0.9, 1.0, 0.3).advice(2)


@pytest.mark.data
def test_a_network_that_knows_no_chairs_does_not_claim_one(data_dir: Path) -> None:
    folder = next((data_dir / 'r2n2_sample/ShapeNetRendering').glob('*/*/rendering'))
    images = [folder / f'{index:02d}.png' for index in (0, 5, 11)]
    found = predict(images, weights=str(random_weights('pix2vox_s')))
    assert {view.mask_source for view in found.views} == {'alpha'}
    assert found.confidence.value < 0.5


def test_the_poses_of_the_page_are_read(tmp_path: Path, root_dir: Path) -> None:
    text = (root_dir / 'docs/predict.md').read_text()
    [block] = re.findall(r'```json\n(.*?)```', text, re.DOTALL)
    path = tmp_path / 'poses.json'
    path.write_text(block)
    poses = read_poses(path, [tmp_path / 'a.jpg'])
    assert poses.cube is not None
    towards = poses.T_world_camera[0, :3, :3] @ (0, 0, 1)
    assert (poses.cube.center_m - poses.T_world_camera[0, :3, 3]) @ towards > 0.5
    for name in FILES:
        assert f'`{name}`' in text
