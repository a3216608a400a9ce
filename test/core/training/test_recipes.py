"""Recipes: those of the package are sound, and what is wrong with one is said in a line."""

from __future__ import annotations

import math

import pytest
from recon3d_core import registry
from recon3d_core.errors import ConfigError
from recon3d_core.models import create_network
from recon3d_core.training.recipe import (
    differences,
    load_recipe,
    make_recipe,
    Recipe,
    recipe_names,
)

SMALL = [name for name in recipe_names() if load_recipe(name).half]


def test_every_network_has_a_recipe():
    trained = {load_recipe(name).model.name for name in recipe_names()}
    for name in registry.names('model'):
        if registry.load('model', name).__module__.split('.')[2] != 'baselines':
            assert name in trained, f'add recon3d_core/training/recipes/{name}.yaml'


@pytest.mark.parametrize('name', recipe_names())
def test_recipe_of_the_package_is_sound(name):
    recipe = load_recipe(name)
    assert recipe.steps > 0
    kinds = ('model', 'segmenter', 'completer', 'parser')
    assert recipe.model.name in [name for kind in kinds for name in registry.names(kind)]
    for stage in recipe.stages:
        assert all(mark < stage.steps for mark in stage.milestones)


@pytest.mark.parametrize('name', SMALL)
def test_stages_of_small_recipes_name_parts_that_exist(name):
    recipe = load_recipe(name)
    parts = create_network(recipe.model.name, **recipe.model.options).parts()
    for stage in recipe.stages:
        assert {*stage.train, *stage.freeze, *stage.lr_factors} <= set(parts)


def test_pix2vox_trains_on_single_views_before_it_fuses():
    first, second = load_recipe('pix2vox_a').stages
    assert first.views == [1, 1]
    assert second.views[1] > 1
    assert second.freeze == ['encoder', 'decoder']


def test_outlines_alone_train_by_no_true_shape():
    loss = load_recipe('silhouettes').loss
    assert loss.volume == 0
    assert loss.silhouette > 0
    assert loss.ray > 0


def test_a_stage_is_changed_by_its_number():
    recipe = load_recipe('pix2vox_s', {'stages': {'1': {'steps': 7}}, 'batch': 3})
    assert recipe.stages[1].steps == 7
    assert recipe.stages[0] == load_recipe('pix2vox_s').stages[0]
    assert recipe.batch == 3


WRONG = {
    'unknown option': ({'bach': 3}, 'batch'),
    'unknown section': ({'model': {'nme': 'x'}}, 'name'),
    'unknown option of a stage': ({'stages': {'0': {'stps': 3}}}, 'steps'),
    'no such stage': ({'stages': {'7': {'steps': 3}}}, 'stages.N'),
    'stages of the wrong kind': ({'stages': 3}, 'stages'),
    'no stage': ({'stages': []}, 'stages'),
    'no step': ({'stages': {'0': {'steps': 0}}}, 'stages.0.steps'),
    'rate not a number': ({'stages': {'0': {'lr': math.nan}}}, 'stages.0.lr'),
    'rate without end': ({'stages': {'0': {'lr': math.inf}}}, 'stages.0.lr'),
    'views turned round': ({'stages': {'0': {'views': [5, 1]}}}, 'stages.0.views'),
    'views of the wrong number': ({'stages': {'0': {'views': [1]}}}, 'stages.0.views'),
    'factor not a number': ({'stages': {'0': {'lr_factors': {'encoder': math.nan}}}}, 'factors'),
    'no loss': ({'loss': {'volume': 0}}, 'loss'),
    'text for a number': ({'batch': 'many'}, 'batch'),
    'negative seed': ({'seed': -1}, 'seed'),
    'unknown arithmetic': ({'precision': '8-bit'}, 'precision'),
    'no validation views': ({'validation': {'views': []}}, 'validation.views'),
    'section as a value': ({'data': 3}, 'data'),
}


@pytest.mark.parametrize(('change', 'named'), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_in_a_line(change, named):
    with pytest.raises(ConfigError, match=named) as caught:
        load_recipe('pix2vox_s', change)
    assert '\n' not in str(caught.value)


def test_an_unknown_recipe_names_the_closest():
    with pytest.raises(ConfigError, match="mean 'pix2vox_s'"):
        load_recipe('pixvox_s')


@pytest.mark.parametrize('text', ['batch: [', '- 3', '\x00', 'stages: 3', 'stages: [3]'])
def test_a_broken_file_is_an_error_of_one_line(tmp_path, text):
    path = tmp_path / 'broken.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert '\n' not in str(caught.value)


def test_only_what_changes_the_result_counts_as_a_difference():
    recipe = load_recipe('pix2vox_s')
    harmless = {'validation': {'every': 3}, 'data': {'workers': 0}, 'checkpoint_steps': 2}
    assert differences(recipe, load_recipe('pix2vox_s', harmless)) == []
    assert differences(recipe, load_recipe('pix2vox_s', {'batch': 3})) == ['batch']
    stages = load_recipe('pix2vox_s', {'stages': {'0': {'steps': 3}}})
    assert differences(recipe, stages) == ['stages']


def test_a_recipe_survives_its_own_file():
    recipe = load_recipe('pix2vox_a')
    assert make_recipe(recipe.model_dump()) == recipe
    assert isinstance(make_recipe({}), Recipe)
