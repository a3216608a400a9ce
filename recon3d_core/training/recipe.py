"""Recipes: YAML files that say what is trained on what, for how long and how."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic
from recon3d_core import registry
from recon3d_core.config import merge, option, Options, read_yaml, validate
from recon3d_core.errors import ConfigError

MAX_STEPS = 100_000_000


class Stage(Options):
    """Some steps of training with one optimiser."""

    steps: int = option(1000, 'How many steps.', ge=1, le=MAX_STEPS)
    views: list[int] = option([1, 1], 'Fewest and most views of an object; drawn for every step.')
    train: list[str] = option([], 'Parts of the network that are trained; all where empty.')
    freeze: list[str] = option([], 'Parts that are not trained; their batch norms stand still.')
    lr: float = option(1e-3, 'Learning rate at its highest.', ge=0.0, le=1.0)
    lr_factors: dict[str, float] = option({}, 'Factor of the learning rate by part.')
    schedule: Literal['constant', 'cosine', 'one_cycle', 'milestones'] = option(
        'cosine', 'How the learning rate changes over the steps of the stage.'
    )
    warmup: float = option(0.02, 'Part of the steps in which the rate rises.', ge=0.0, le=1.0)
    final: float = option(0.01, 'Rate at the end as a part of `lr`.', ge=0.0, le=1.0)
    milestones: list[int] = option([], 'Steps of the stage from which the rate is lower.')
    gamma: float = option(0.5, 'Factor of the rate at every milestone.', ge=0.0, le=1.0)

    @pydantic.field_validator('views')
    @classmethod
    def _views(cls, views: list[int]) -> list[int]:
        if len(views) != 2 or not 1 <= views[0] <= views[1] <= 64:
            raise ValueError('expected [fewest, most] with 1 <= fewest <= most <= 64')
        return views

    @pydantic.field_validator('lr_factors')
    @classmethod
    def _factors(cls, factors: dict[str, float]) -> dict[str, float]:
        if not all(0 <= factor <= 1000 for factor in factors.values()):
            raise ValueError('expected factors from 0 to 1000')
        return factors


class ModelPart(Options):
    """Which network."""

    name: str = option('pix2vox_s', 'Name of the network.')
    options: dict[str, Any] = option({}, 'Its options.')
    weights: str = option('', 'Weights to begin with: `default` or a file; random where empty.')


class DataPart(Options):
    """Which objects and views."""

    set: str = option('procedural', 'Data set: a name, or `name:where`.')
    options: dict[str, Any] = option({}, 'Its options.')
    workers: int = option(
        -1, 'Processes that make batches; 0 = none, -1 = by the machine.', ge=-1, le=256
    )


class LossPart(Options):
    """What is minimised: the sum of these terms by their weights."""

    volume: float = option(1.0, "Weight of the network's own loss.", ge=0.0, le=1e4)
    silhouette: float = option(0.0, 'Weight of the silhouette loss (Eq. 8).', ge=0.0, le=1e4)
    ray: float = option(0.0, 'Weight of the ray consistency (Eq. 11).', ge=0.0, le=1e4)
    extra_views: int = option(
        0, 'Views beside those that the network sees, for the two terms above.', ge=0, le=16
    )

    @pydantic.model_validator(mode='after')
    def _something(self) -> LossPart:
        if not self.volume + self.silhouette + self.ray > 0:
            raise ValueError('expected a weight above 0')
        return self


class ValidationPart(Options):
    """How the network is judged while it trains."""

    every: int = option(500, 'Steps between two validations.', ge=1, le=MAX_STEPS)
    objects: int = option(104, 'Objects of the validation split, at most.', ge=1, le=100_000)
    views: list[int] = option([1, 5], 'Numbers of views; the mean over them chooses the best.')

    @pydantic.field_validator('views')
    @classmethod
    def _views(cls, views: list[int]) -> list[int]:
        if not views or not all(1 <= count <= 64 for count in views):
            raise ValueError('expected numbers of views from 1 to 64')
        return sorted(set(views))


class Recipe(Options):
    """All of a training; everything but `RUNTIME` changes its result."""

    model: ModelPart = pydantic.Field(default_factory=ModelPart)
    data: DataPart = pydantic.Field(default_factory=DataPart)
    stages: list[Stage] = pydantic.Field(default_factory=lambda: [Stage()], min_length=1)
    loss: LossPart = pydantic.Field(default_factory=LossPart)
    validation: ValidationPart = pydantic.Field(default_factory=ValidationPart)
    batch: int = option(16, 'Objects in a step, per device.', ge=1, le=4096)
    optimizer: Literal['adam', 'adamw'] = option('adamw', 'Optimiser.')
    weight_decay: float = option(0.01, 'Decay of weights with 2 or more axes.', ge=0.0, le=1.0)
    clip: float = option(1.0, "Largest norm of the gradient; 0 = don't clip.", ge=0.0, le=1e6)
    # fp16 needs a loss scale, which is one more state; what trains in fp16 trains in bf16.
    precision: Literal['32-true', 'bf16-mixed'] = option('32-true', 'Arithmetic.')
    seed: int = option(0, 'Says everything that is drawn.', ge=0, le=2**31 - 1)
    ema: float = option(0.0, 'Decay of the running mean of weights; 0 = none.', ge=0.0, le=0.99999)
    half: bool = option(False, 'Whether best and last weights are stored as fp16.')
    checkpoint_steps: int = option(500, 'Most steps between checkpoints.', ge=1, le=MAX_STEPS)
    checkpoint_minutes: float = option(5.0, 'Most minutes between them.', ge=0.0, le=1e4)
    log_steps: int = option(20, 'Steps that make one row of the log.', ge=1, le=100_000)
    pictures: int = option(
        6, 'Objects in the sample picture; 0 = no pictures at all.', ge=0, le=64
    )

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)


RUNTIME = (
    'validation',
    'half',
    'checkpoint_steps',
    'checkpoint_minutes',
    'log_steps',
    'pictures',
    'data.workers',
)
"""What may change between a run and its continuation."""


def recipe_names() -> list[str]:
    """Return the names of the recipes of this package."""
    return sorted(path.stem for path in _folder().glob('*.yaml'))


def _folder() -> Path:
    return Path(str(resources.files('recon3d_core'))) / 'training' / 'recipes'


def find_recipe(name: str) -> Path:
    """Return the file of a recipe given by name or path.

    Raises:
        ConfigError: There is none; the message lists the known names.
    """
    if name.endswith(('.yaml', '.yml')) and Path(name).is_file():
        return Path(name)
    known = recipe_names()
    if name not in known:
        expected = f'a .yaml file or one of {", ".join(known)}'
        raise ConfigError('unknown recipe', repr(name), expected, registry.closest(name, known))
    return _folder() / f'{name}.yaml'


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe and change some of its options.

    Args:
        name: Name of a recipe of this package, or a YAML file.
        overrides: Nested options; `{'stages': {'0': {...}}}` changes a stage by its number.

    Raises:
        ConfigError: There is no such recipe, or the first thing that is wrong in it.
    """
    return make_recipe(read_yaml(find_recipe(name)), overrides)


def make_recipe(values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Make a recipe of nested values.

    Raises:
        ConfigError: The first thing that is wrong.
    """
    over = dict(overrides or {})
    stages = _stages(values.get('stages', [{}]), over.pop('stages', {}))
    merged = merge({key: value for key, value in values.items() if key != 'stages'}, over)
    parsed = [validate(Stage, item, f'stages.{index}') for index, item in enumerate(stages)]
    recipe: Recipe = validate(Recipe, {**merged, 'stages': parsed})
    return recipe


def _stages(listed: Any, changes: Any) -> list[Mapping[str, Any]]:
    """Return the stages with changes given by their numbers, or other stages altogether."""
    if isinstance(changes, list):
        listed, changes = changes, {}
    fits = isinstance(listed, list) and all(isinstance(item, Mapping) for item in listed)
    if not fits or not isinstance(changes, Mapping):
        raise ConfigError('option stages', repr(listed), 'a list of stages')
    stages: list[Mapping[str, Any]] = list(listed)
    for key, change in changes.items():
        numbers = [str(number) for number in range(len(stages))]
        if key not in numbers or not isinstance(change, Mapping):
            expected = f'stages.N.option with N of {", ".join(numbers)}'
            raise ConfigError('option stages', f'stages.{key}', expected)
        stages[int(key)] = merge(stages[int(key)], change)
    return stages


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Return the dotted names of options that differ and change the result."""
    return [
        name
        for name in _different(old.model_dump(), new.model_dump())
        if not any(name == free or name.startswith(f'{free}.') for free in RUNTIME)
    ]


def _different(old: Any, new: Any, name: str = '') -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(set(old) | set(new))
        start = f'{name}.' if name else ''
        return [d for key in keys for d in _different(old.get(key), new.get(key), start + key)]
    return [] if old == new else [name]
