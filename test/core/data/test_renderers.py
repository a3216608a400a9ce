"""Both renderers of objects: against closed formulas, and against one another."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from recon3d_core.data.rendering.base import Cameras, Lighting
from recon3d_core.data.rendering.grid_builder import build_grid
from recon3d_core.data.rendering.raycast import render
from recon3d_core.data.rendering.sdf import Lights, render_sdf
from recon3d_core.data.rendering.sdf_grids import SdfGrids
from recon3d_core.errors import InputError
from solid_objects import box, cameras_around, in_cube, iou, LIGHTING, object_mesh, table
import torch
import trimesh

RESOLUTION = 64


def ball(radius=0.4):
    return object_mesh(trimesh.creation.icosphere(subdivisions=5, radius=radius))


def grids_of(*meshes, resolution=RESOLUTION):
    built = [build_grid(mesh, resolution, resolution // 2) for mesh in meshes]
    sdf = np.stack([grid.sdf for grid in built])
    return SdfGrids.from_arrays(sdf, np.stack([grid.colors for grid in built]))


def draw(grids, cameras: Cameras, *, indices=(0,), lighting=LIGHTING, **options):
    K = torch.from_numpy(cameras.normalized_K())[None].repeat(len(indices), 1, 1, 1)
    pose = torch.from_numpy(cameras.T_camera_cube).float()[None].repeat(len(indices), 1, 1, 1)
    return render_sdf(grids, torch.tensor(indices), K, pose, lighting, cameras.width, **options)


def ball_depth(cameras, radius):
    """Return the exact depth (V, H, W) of a ball at the cube's centre, 0 = missed."""
    y, x = np.mgrid[: cameras.height, : cameras.width]
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    result = []
    for K, pose in zip(cameras.K, cameras.T_camera_cube):
        rays = pixels @ np.linalg.inv(K).T
        center = pose[:3, 3]
        along, square = rays @ center, (rays**2).sum(-1)
        root = along**2 - square * (center @ center - radius**2)
        result.append(np.where(root > 0, (along - np.sqrt(np.maximum(root, 0))) / square, 0))
    return np.array(result)


@pytest.mark.parametrize('size', [(64, 64), (80, 48)])
def test_ray_casting_of_a_ball(size):
    cameras = cameras_around(3, size=size)
    seen = render(ball(), cameras, LIGHTING)
    exact = ball_depth(cameras, 0.4)
    assert seen.rgb.shape == (3, size[1], size[0], 3)
    assert iou(seen.mask, exact > 0) > 0.99
    both = seen.mask & (exact > 0)
    assert np.abs(seen.depth - exact)[both].max() < 0.02
    assert np.median(np.abs(seen.depth - exact)[both]) < 1e-3
    assert (seen.depth[~seen.mask] == 0).all()
    assert np.linalg.norm(seen.normals_camera, axis=-1)[seen.mask] == pytest.approx(1, abs=1e-4)
    assert (seen.normals_camera[both][:, 2] < 0.3).all(), 'they point to the camera'
    inner = seen.coverage == 255
    assert (seen.coverage > 0)[seen.mask].mean() > 0.99
    assert inner.sum() > 0.8 * seen.mask.sum()
    assert (seen.rgb[seen.coverage == 0] == 0).all()


def test_coverage_is_the_area():
    square = object_mesh(box((0.6, 0.6, 0.001)))
    cameras = cameras_around(1, size=(33, 33))
    pose = np.eye(4)
    pose[:3, :3] = np.diag([1, -1, -1.0])
    pose[2, 3] = 2
    cameras = dataclasses.replace(cameras, T_camera_cube=pose[None])
    seen = render(square, cameras, LIGHTING, supersample=4)
    pixels = 0.6 * cameras.K[0, 0, 0] / 1.9995
    assert seen.coverage.sum() / 255 == pytest.approx(pixels**2, rel=0.02)
    assert seen.mask.sum() == pytest.approx(pixels**2, rel=0.08)


def test_shading_follows_the_light():
    cameras = cameras_around(4, seed=2)
    plain = render(ball(), cameras, LIGHTING, supersample=1)
    rotation = cameras.T_camera_cube[:, :3, :3]
    normals = np.einsum('vji,vhwj->vhwi', rotation, plain.normals_camera)
    facing = np.maximum(normals @ LIGHTING.directions_cube[0], 0)
    expected = np.array([200, 120, 60]) * (0.3 + 0.7 * facing[..., None])
    assert np.abs(plain.rgb - expected)[plain.mask].max() <= 1
    shiny = render(ball(), cameras, dataclasses.replace(LIGHTING, gloss=0.5), supersample=1)
    assert (shiny.rgb.astype(int) >= plain.rgb).all()
    assert (shiny.rgb.astype(int) - plain.rgb).max() > 30


def test_shadows():
    lid = trimesh.util.concatenate([box((0.9, 0.9, 0.05), (0, 0, -0.4)), box((0.4, 0.4, 0.05))])
    above = Lighting(
        np.array([[0, 0, 1]], np.float32), np.ones((1, 3), np.float32), np.zeros(3, np.float32)
    )
    cameras = cameras_around(6, seed=1)
    lit = render(object_mesh(lid), cameras, above, supersample=1)
    dark = render(object_mesh(lid), cameras, above, supersample=1, shadows=True)
    assert (dark.rgb <= lit.rgb).all()
    below = (dark.rgb.sum(-1) == 0) & (lit.rgb.sum(-1) > 0)
    assert 0.01 < below.sum() / lit.mask.sum() < 0.4


SHAPES = {
    'ball': trimesh.creation.icosphere(subdivisions=4),
    'box': box((0.5, 0.7, 0.3)),
    'tube': trimesh.creation.annulus(0.35, 0.5, 1.0),
    'table': table(),
    'cone': trimesh.creation.cone(0.5, 1.0),
}


@pytest.mark.parametrize('name', SHAPES)
def test_both_renderers_agree(name):
    mesh = in_cube(SHAPES[name])
    cameras = cameras_around(6, seed=3, size=(128, 128))
    cast = render(mesh, cameras, LIGHTING, supersample=1)
    traced = draw(grids_of(mesh, resolution=96), cameras)
    mask = traced.coverage[0, :, 0].numpy() > 0.5
    assert np.mean([iou(a, b) for a, b in zip(cast.mask, mask)]) >= 0.97
    both = mask & cast.mask
    error = np.abs(traced.depth[0, :, 0].numpy() - cast.depth)[both]
    assert np.median(error) <= 0.5 / 96
    normals = traced.normals_camera[0].permute(0, 2, 3, 1).numpy()
    assert np.median((normals * cast.normals_camera).sum(-1)[both]) > 0.98
    colors = traced.rgb[0].permute(0, 2, 3, 1).numpy() * 255
    assert np.median(np.abs(colors - cast.rgb)[both]) < 6


def test_sheets_and_thin_rods_are_drawn():
    rod = trimesh.creation.cylinder(0.006, 0.9, sections=6)
    rod.apply_transform(trimesh.transformations.rotation_matrix(0.6, (1, 0.3, 0)))
    cameras = cameras_around(8, seed=5, size=(96, 96))
    cast = render(object_mesh(rod), cameras, LIGHTING)
    traced = draw(grids_of(object_mesh(rod)), cameras)
    drawn = traced.coverage[0, :, 0].numpy() > 0.5
    # All of it is there, and no thicker than the grid needs.
    assert drawn[cast.coverage == 255].mean() > 0.98
    assert drawn.sum() < 2.5 * cast.coverage.sum() / 255


def test_batches_equal_single_objects():
    grids = grids_of(in_cube(SHAPES['tube']), in_cube(SHAPES['table']), ball())
    cameras = cameras_around(2, seed=4, size=(48, 48))
    lights = [LIGHTING, dataclasses.replace(LIGHTING, gloss=0.4)]
    both = draw(grids, cameras, indices=(1, 2), lighting=Lights.stack(lights))
    for row, index in enumerate((1, 2)):
        one = draw(grids, cameras, indices=(index,), lighting=lights[row])
        for field in dataclasses.fields(one):
            got, expected = getattr(both, field.name)[row], getattr(one, field.name)[0]
            assert torch.allclose(got, expected, atol=1e-5), field.name


def test_lights_of_different_number():
    two = Lighting(
        np.array([[0, 0, 1], [0, 1, 0]], np.float32),
        np.ones((2, 3), np.float32),
        np.zeros(3, np.float32),
    )
    lights = Lights.stack([LIGHTING, two])
    assert lights.directions_cube.shape == (2, 2, 3)
    assert (lights.powers[0, 1] == 0).all()


def test_supersampling_keeps_the_picture():
    grids, cameras = grids_of(ball()), cameras_around(2, size=(48, 48))
    coarse, fine = draw(grids, cameras), draw(grids, cameras, supersample=3)
    assert fine.rgb.shape == coarse.rgb.shape
    assert ((fine.coverage > 0) & (fine.coverage < 1)).any()
    assert float((fine.coverage - coarse.coverage).mean().abs()) < 0.01
    sure = (fine.coverage == 1) & (coarse.coverage == 1)
    assert float((fine.depth - coarse.depth).abs()[sure].median()) < 2e-3


def test_a_camera_inside_and_one_that_looks_away():
    grids = grids_of(ball(0.2))
    cameras = cameras_around(1, size=(32, 32))
    away = cameras.T_camera_cube.copy()
    away[:, :3, :] = np.diag([-1.0, 1, -1]) @ away[:, :3, :]
    seen = draw(grids, dataclasses.replace(cameras, T_camera_cube=away))
    assert float(seen.coverage.max()) == 0
    assert float(seen.rgb.max()) == 0
    inside = np.eye(4)[None].copy()
    inside[:, 2, 3] = 0.35  # within the cube, before the ball
    seen = draw(grids, dataclasses.replace(cameras, T_camera_cube=inside))
    assert float(seen.depth[0, 0, 0, 16, 16]) == pytest.approx(0.15, abs=0.01)


def test_wrong_shapes():
    grids = grids_of(ball(), resolution=32)
    eye = torch.eye(3)[None, None]
    with pytest.raises(InputError, match='T_camera_cube'):
        render_sdf(grids, torch.tensor([0]), eye, torch.eye(4)[None], LIGHTING, 8)
    with pytest.raises(InputError, match='sdf'):
        SdfGrids.from_arrays(np.zeros((1, 30, 30, 30), np.int8), np.zeros((1, 8, 8, 8, 4), 'u1'))


def test_the_torch_renderer_needs_no_mesh_library():
    code = (
        'import sys; import recon3d_core.data.rendering.sdf, recon3d_core.data.pack; '
        'bad = {"open3d", "trimesh", "scipy", "skimage"} & set(sys.modules); '
        'sys.exit(f"imported {bad}" if bad else 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
def test_gpu_equals_cpu():
    grids, cameras = grids_of(in_cube(table())), cameras_around(4, size=(64, 64))
    cpu, gpu = draw(grids, cameras), draw(grids.to('cuda'), cameras)
    assert float((cpu.coverage - gpu.coverage.cpu()).abs().mean()) < 1e-3
    assert float((cpu.depth - gpu.depth.cpu()).abs().median()) < 1e-4


@pytest.mark.data
@pytest.mark.slow
def test_both_renderers_agree_on_real_objects(data_dir):
    from recon3d_core.data.objects.meshes import ManifestObjects

    objects = ManifestObjects(data_dir / 'meshes')
    names = [name for split in ('train', 'val', 'test') for name in objects.names(split)]
    cameras = cameras_around(3, seed=3, size=(128, 128))
    agreement, errors = [], []
    for name in sorted(names)[10 :: len(names) // 10]:
        mesh = objects.load(name).mesh
        cast = render(mesh, cameras, LIGHTING, supersample=1)
        traced = draw(grids_of(mesh, resolution=96), cameras)
        mask = traced.coverage[0, :, 0].numpy() > 0.5
        agreement += [iou(a, b) for a, b in zip(cast.mask, mask)]
        error = np.abs(traced.depth[0, :, 0].numpy() - cast.depth)
        errors.append(np.median(error[mask & cast.mask]) * 96)
    assert np.mean(agreement) >= 0.97
    assert np.median(errors) <= 0.5
