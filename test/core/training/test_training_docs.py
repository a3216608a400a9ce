"""The recipe in the documentation is one, and its tables name what there is."""

from __future__ import annotations

import re
import textwrap

from recon3d_core.training.recipe import make_recipe, recipe_names
from recon3d_core.training.run import SUMMARY
import yaml


def test_the_recipe_of_the_page_is_one(root_dir):
    text = (root_dir / 'docs/training.md').read_text()
    [block] = re.findall(r'\n\n(    model:.*?)\n\n', text, re.DOTALL)
    recipe = make_recipe(yaml.safe_load(textwrap.dedent(block)))
    assert recipe.steps == 2500
    assert recipe.loss.extra_views == 2


def test_the_page_names_every_recipe_and_file(root_dir):
    text = (root_dir / 'docs/training.md').read_text()
    for name in [*recipe_names(), SUMMARY, 'checkpoint.pt', 'best.safetensors', 'curves.png']:
        assert f'`{name}`' in text, name
