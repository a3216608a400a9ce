"""A training of seconds on solids: its recipe, and how two of them are compared."""

from __future__ import annotations

import time

from safetensors.torch import load_file
import torch
import yaml

RECIPE = {
    'model': {'name': 'tiny'},
    'data': {'set': 'solids', 'workers': 0},
    'stages': [
        {'steps': 12, 'views': [1, 3], 'lr': 0.004, 'schedule': 'one_cycle'},
        {
            'steps': 8,
            'views': [2, 3],
            'freeze': ['encoder'],
            'lr': 0.002,
            'lr_factors': {'decoder': 0.5},
        },
    ],
    'batch': 4,
    'ema': 0.8,
    'validation': {'every': 10, 'objects': 4, 'views': [1, 3]},
    'checkpoint_steps': 5,
    'log_steps': 5,
    'pictures': 0,
}


def recipe_file(folder, **changes):
    """Write the recipe with changes; return its path."""
    path = folder / 'small.yaml'
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return str(path)


def equal_weights(one, other):
    """Return whether two trainings ended with equal weights."""
    first, second = load_file(one / 'last.safetensors'), load_file(other / 'last.safetensors')
    assert set(first) == set(second)
    return all(torch.equal(first[key], second[key]) for key in first)


def wait_for(condition, process):
    """Wait until a condition holds, as long as a process runs."""
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
