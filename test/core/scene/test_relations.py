"""Relations: what stands on what, what lies in what, what touches."""

from __future__ import annotations

import numpy as np
from recon3d_core.scene.relations import describe_relations, Relation, relations
from standing import box_at, estimate_of, moved, TABLE
from tabletop import lathe, make_solid
import trimesh

BOX = (0.08, 0.08, 0.05)


def found(*solids, planes=(TABLE,)):
    """Relations of solids, numbered from 1, as one line."""
    objects = {key: estimate_of(key, solid) for key, solid in enumerate(solids, 1)}
    return describe_relations(relations(objects, planes))


def test_a_stack_stands_on_the_plane_through_its_lowest():
    stack = [box_at(BOX, (0, 0, 0.05 * level)) for level in (1, 0, 2)]
    assert found(*stack) == '1 on 2, 1 touches 2, 1 touches 3, 2 on plane, 3 on 1'


def test_side_by_side_is_touching_and_no_more():
    beside = [box_at(BOX, (0, 0, 0)), box_at(BOX, (0.081, 0, 0)), box_at(BOX, (0.2, 0, 0))]
    assert found(*beside) == '1 on plane, 1 touches 2, 2 on plane, 3 on plane'


def test_a_ball_in_a_bowl_is_inside_and_one_under_a_bowl_is_not():
    bowl, ball = make_solid('bowl'), moved(trimesh.creation.icosphere(2, 0.02), 0, 0, 0.028)
    assert found(bowl, ball) == '1 on plane, 1 touches 2, 2 in 1, 2 on 1'
    turned = bowl.copy()
    turned.apply_transform(trimesh.transformations.rotation_matrix(np.pi, (1, 0, 0), (0, 0, 0.03)))
    assert 'in 1' not in found(turned, moved(ball, 0, 0, -0.008))


def test_a_spoon_that_lies_across_a_bowl_is_not_in_it():
    bowl, spoon = make_solid('bowl'), box_at((0.25, 0.01, 0.01), (0, 0, 0.06))
    assert found(bowl, spoon) == '1 on plane, 1 touches 2, 2 on 1'


def test_what_hangs_above_the_plane_stands_on_nothing():
    assert found(box_at(BOX, (0, 0, 0.1))) == 'none'


def test_the_plane_is_named_by_its_index_or_not_at_all():
    shelf = type(TABLE)(TABLE.normal_world, -0.5)
    objects = {4: estimate_of(4, box_at(BOX, (0, 0, 0)))}
    assert relations(objects, (shelf, TABLE)) == [Relation('supported_by', 4, plane=1)]
    assert relations(objects, (shelf,)) == [Relation('supported_by', 4)]
    lone = {4: estimate_of(4, box_at(BOX, (0, 0, 0)), support=None)}
    assert relations(lone, (TABLE,)) == []


def test_a_cup_on_a_saucer_stands_on_it():
    saucer = lathe([(0, 0), (0.07, 0.01), (0.07, 0.015), (0, 0.006)])
    assert '2 on 1' in found(saucer, moved(make_solid('cylinder'), 0, 0, 0.014))


def test_the_order_of_the_objects_does_not_matter():
    solids = [box_at(BOX, (0, 0, 0)), box_at(BOX, (0.01, 0, 0.05)), box_at(BOX, (0.082, 0, 0))]
    objects = {key: estimate_of(key, solid) for key, solid in enumerate(solids, 1)}
    backwards = dict(reversed(objects.items()))
    assert relations(objects, (TABLE,)) == relations(backwards, (TABLE,)) != []
