"""The guide's network does what every network must, and learns."""

from __future__ import annotations

import importlib
from pathlib import Path
import re
import textwrap

import pytest
from recon3d_core.models import create_model
from recon3d_core.training.recipe import load_recipe
import torch

GUIDE = Path(__file__).resolve().parents[3] / 'docs' / 'adding_a_model.md'


def block(language: str) -> str:
    (text,) = re.findall(rf'```{language}\n(.*?)```', GUIDE.read_text(encoding='utf-8'), re.S)
    return text


@pytest.fixture
def registered(tmp_path, monkeypatch):
    (tmp_path / 'mean_volume.py').write_text(block('python'), encoding='utf-8')
    exported = re.search(r'RECON3D_PLUGINS="([^"]+)"', block('console'))
    monkeypatch.setenv('RECON3D_PLUGINS', exported[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()


def test_network_of_the_guide(registered):
    torch.manual_seed(0)
    model = create_model('mean_volume', resolution=8, image_size=32, width=4)
    images = torch.rand(4, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    views = model.preprocess(images)
    with torch.no_grad():
        whole, state = model(views), model.start(4)
        for index in range(3):
            state = model.observe(state, views[:, index])
        torch.testing.assert_close(model.probabilities(state), whole, atol=1e-5, rtol=0)
    occupancy = (torch.rand(4, 8, 8, 8, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.loss(views, occupancy)
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_recipe_of_the_guide(registered, tmp_path):
    file = tmp_path / 'my_recipe.yaml'
    (indented,) = re.findall(
        r'\n((?:    .*\n)+)', GUIDE.read_text(encoding='utf-8').split('needs no more')[1]
    )
    file.write_text(textwrap.dedent(indented), encoding='utf-8')
    recipe = load_recipe(str(file))
    assert recipe.model.name == 'mean_volume'
    assert recipe.steps == 2000
