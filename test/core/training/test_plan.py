"""What a step does follows from its number, its process and the seed alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
import pytest
from recon3d_core.training.plan import learning_rate, Plan
from recon3d_core.training.recipe import make_recipe, Stage

OBJECTS = [f'object {k}' for k in range(23)]


def plan(rank=0, world=1, seed=0, batch=5, views=(1, 4)):
    stages = [{'steps': 40, 'views': list(views)}, {'steps': 60, 'views': [3, 3]}]
    return Plan(
        make_recipe({'stages': stages, 'batch': batch, 'seed': seed}), OBJECTS, rank, world
    )


@given(world=st.integers(1, 4), batch=st.integers(1, 9), seed=st.integers(0, 1000))
def test_every_object_comes_once_before_one_comes_again(world, batch, seed):
    seen = Counter()
    steps = -(-3 * len(OBJECTS) // (world * batch))
    for step in range(steps):
        for rank in range(world):
            names = plan(rank, world, seed, batch).names(step)
            assert len(names) == batch
            seen.update(names)
    total = steps * world * batch
    assert set(seen.values()) <= {total // len(OBJECTS), -(-total // len(OBJECTS))}


def test_order_differs_between_epochs_and_seeds():
    first = [plan(batch=23).names(step) for step in range(3)]
    assert sorted(first[0]) == sorted(first[1]) == sorted(OBJECTS)
    assert first[0] != first[1] != first[2]
    assert plan(batch=23, seed=1).names(0) != first[0]


def test_asking_in_another_order_changes_nothing():
    one = [(plan().names(k), plan().views(k), plan().batch_seed(k)) for k in range(30)]
    again = [(plan().names(k), plan().views(k), plan().batch_seed(k)) for k in reversed(range(30))]
    assert one == again[::-1]


def test_processes_share_the_number_of_views_and_nothing_else():
    one, other = plan(0, 2), plan(1, 2)
    assert [one.views(k) for k in range(50)] == [other.views(k) for k in range(50)]
    assert one.batch_seed(3) != other.batch_seed(3)
    assert one.network_seed(3) != other.network_seed(3)
    assert not set(one.names(0)) & set(other.names(0))


def test_all_numbers_of_views_come():
    assert {plan().views(step) for step in range(40)} == {1, 2, 3, 4}
    assert {plan().views(step) for step in range(40, 100)} == {3}


def test_steps_lie_in_their_stage():
    places = [plan().place(step) for step in (0, 39, 40, 99, 100)]
    assert [(p.index, p.step) for p in places] == [(0, 0), (0, 39), (1, 0), (1, 59), (1, 60)]


@given(
    st.sampled_from(['constant', 'cosine', 'one_cycle']),
    st.integers(1, 400),
    st.floats(0, 0.5),
)
def test_rates_rise_then_fall_within_their_bounds(schedule, steps, warmup):
    stage = Stage(steps=steps, lr=0.1, schedule=schedule, warmup=warmup, final=0.05)
    rates = [learning_rate(stage, step) for step in range(steps)]
    assert max(rates) <= 0.1 + 1e-12
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_known_rates():
    cosine = Stage(steps=100, lr=1.0, schedule='cosine', warmup=0.1, final=0.0)
    assert learning_rate(cosine, 0) == pytest.approx(0.1)
    assert learning_rate(cosine, 9) == pytest.approx(1.0)
    assert learning_rate(cosine, 55) == pytest.approx(0.5)
    falling = Stage(
        steps=100, lr=1.0, schedule='milestones', milestones=[20, 60], gamma=0.1, warmup=0.0
    )
    rates = [learning_rate(falling, step) for step in (0, 19, 20, 59, 60, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
