"""Every line of docs/equations.md names a function that exists, says so itself, and computes."""

from __future__ import annotations

import importlib
import inspect
import re

import loss_cases
import markdown_pages as pages
import numpy as np
import pytest
from recon3d_core import losses, metrics
import torch

PAGE = pages.ROOT / 'docs/equations.md'
EQUATIONS = pages.tables(PAGE, 'equation', 'function', 'what it computes')
MEASURES = pages.tables(PAGE, 'measure', 'function', 'what it computes')


def imported(name):
    module, _, attribute = name.strip('`').rpartition('.')
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(('number', 'name'), [row[:2] for row in EQUATIONS])
def test_function_cites_its_equation(number, name):
    function = imported(name)
    first_lines = inspect.getdoc(function).partition('Args:')[0]
    cited = set(re.findall(r'Eq\. (\d+)', first_lines))
    assert number in cited, f'{name} cites {cited or "no equation"}'


def test_all_functions_are_listed():
    listed = {imported(row[1]).__name__ for row in (*EQUATIONS, *MEASURES)}
    exported = {*losses.__all__, *metrics.__all__} - {'SurfaceScores'}
    assert listed == exported
    wanted = {'3', '4', '5', '6', '8', '11', '12', '13', '15', '16', '17'}
    assert {row[0] for row in EQUATIONS} == wanted


BALL = loss_cases.sphere(12)
CAMERAS = loss_cases.orbit(loss_cases.EYES)
MASKS = losses.project_silhouettes(BALL, CAMERAS, 16, 16)
POINTS = torch.rand(1, 30, 3, generator=torch.Generator().manual_seed(0))
DEPTH = torch.full((1, 12, 12), 5.0)
NORMALS = torch.tensor([0.0, 0.0, -1.0]).expand(1, 12, 12, 3)
# What is compared with itself, or with what it shows.
ARGUMENTS = {
    'earth_movers_distance': (POINTS, POINTS),
    'chamfer_distance': (POINTS, POINTS),
    'silhouette_loss': (BALL, MASKS, CAMERAS),
    'ray_consistency': (BALL, CAMERAS, MASKS),
    'normal_loss': (BALL, DEPTH, NORMALS),
    'depth_loss': (BALL, DEPTH),
    'cross_entropy_from_logits': (200 * BALL.round() - 100, BALL.round()),
    'mse': (POINTS, POINTS),
    'emd': (POINTS, POINTS),
    'chamfer': (POINTS, POINTS),
    'fscore': (POINTS, POINTS),
    'normal_consistency': (POINTS, POINTS, POINTS, POINTS),
    'project_silhouettes': (BALL, CAMERAS, 16, 16),
    'surface_scores': (BALL[0], POINTS[0], 0.5),
}


@pytest.mark.parametrize('name', [row[1] for row in (*EQUATIONS, *MEASURES)])
def test_function_computes(name):
    function = imported(name)
    value = function(*ARGUMENTS.get(function.__name__, (BALL.round(), BALL.round())))
    value = np.asarray(value if not isinstance(value, metrics.SurfaceScores) else value.chamfer)
    assert np.isfinite(value).all()
    assert (value >= 0).all()
    if function.__name__ in ('mse', 'emd', 'chamfer', 'chamfer_distance', 'volumetric_l2'):
        assert value.item() == 0
    if function.__name__ in ('iou', 'fscore', 'average_precision', 'mean_average_precision'):
        assert value.item() == 1
