"""One object: how many views it says that it was made of, and its volume."""

import numpy as np
from recon3d_core.fusion.tsdf_object import TsdfObjectReconstructor
from recon3d_core.fusion.visual_hull import VisualHullReconstructor
from recon3d_core.geometry.cameras import Camera
from recon3d_core.geometry.grids import grid_around
from recon3d_core.geometry.transforms import look_at
from recon3d_core.meshing.closed import ClosedMesher
from recon3d_core.meshing.render import cast_mesh
from recon3d_core.scene.objects import ObjectState
from recon3d_core.scene.options import AlignmentOptions, ObjectOptions, SelfCheckOptions
from recon3d_core.types import Frame, Mesh, View
from tabletop import mask_points, tabletop
import trimesh

CAMERA = Camera(80, 60, 70.0, 70.0, 39.5, 29.5)
UP = np.array([0.0, 0.0, 1.0])
SOLID = trimesh.creation.box((0.2, 0.15, 0.1))


def view_from(eye, target=(0.0, 0.0, 0.0)):
    """View of the box, without depth."""
    pose = look_at(eye, target)
    mesh = Mesh(SOLID.vertices.astype(np.float32), SOLID.faces.astype(np.int32))
    mask = cast_mesh(mesh, CAMERA, pose) > 0
    return View(Frame(0, CAMERA, T_world_camera=pose), mask, (0, 0, 79, 59))


def test_a_view_that_was_refused_does_not_count():
    hull = VisualHullReconstructor()
    state = ObjectState(1, hull, 0, 0)
    state.state = hull.start(grid_around(SOLID.vertices, 0.01, 0.05))
    eyes = [(0.6, 0.0, 0.3), (0.0, 0.6, 0.3), (-0.5, 0.4, 0.3)]
    away = view_from((0.6, 0.0, 0.3), target=(2.0, 0.0, 0.3))
    for view in [*map(view_from, eyes), away]:
        state.observe(view, ObjectOptions(), AlignmentOptions(), UP)
    estimate = state.make_estimate(ClosedMesher(), SelfCheckOptions(), UP)
    assert estimate.views_used == len(eyes)


def test_what_outgrows_its_volume_keeps_estimate_and_views():
    views = tabletop('box').orbit(8)
    state = ObjectState(1, TsdfObjectReconstructor(), 0, 0, confirmed=True)
    every = mask_points(views[0])
    low, high = every.min(0), every.max(0)
    part = every[every[:, 0] < low[0] + 0.4 * (high[0] - low[0])]
    state.points_world_m = part
    for view in views[:4]:
        fused = state.observe(view, ObjectOptions(), AlignmentOptions(), UP)
        for one in fused:
            state.kept.offer(one, every.mean(0), 8)
    small = state.grid
    state.estimate = state.make_estimate(ClosedMesher(), SelfCheckOptions(), UP)
    state.points_world_m = every
    fused = state.observe(views[4], ObjectOptions(), AlignmentOptions(), UP)
    assert len(fused) == 5, 'those that were kept, and the new one'
    assert state.grid is not small
    assert state.grid.contains(every).mean() > 0.95
    assert state.estimate is not None
    state.observe(views[5], ObjectOptions(), AlignmentOptions(), UP)
    assert state.views_used == 6, 'it begins anew once'
