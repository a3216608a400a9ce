"""Parameters made from the models: names, ranges, validation, and real parameter files."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
import subprocess
import sys

from node_graph import DOMAIN_ID
import pytest
import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from recon3d_core import config
from recon3d_core.errors import InputError
from recon3d_ros import parameters
from recon3d_ros.parameters import NodeParameters

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'config').glob('*.yaml'))


@pytest.fixture(scope='module')
def context():
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN_ID)
    yield context
    rclpy.shutdown(context=context)


@pytest.fixture
def declare(context):
    made = []
    numbers = itertools.count()

    def declare(**values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = Node(f'p{next(numbers)}', context=context, parameter_overrides=overrides)
        made.append(node)
        return node, parameters.declare(node)

    yield declare
    for node in made:
        node.destroy_node()


def test_every_option_is_a_described_parameter(declare):
    node, declared = declare()
    for info in declared.options():
        descriptor = node.describe_parameter(info.path)
        assert info.description
        assert info.description in descriptor.description
        changeable = info.live or info.path == parameters.POSE_SOURCE
        assert descriptor.read_only is not changeable
        if info.ge is not None and info.le is not None:
            bounds = descriptor.integer_range or descriptor.floating_point_range
            assert (bounds[0].from_value, bounds[0].to_value) == (info.ge, info.le)
    units = [i.path for i in declared.options() if i.path.endswith('_m') and i.unit != 'm']
    assert not units


def test_the_node_has_a_time_budget_by_default(declare):
    assert declare()[1].pipeline.budget_ms == parameters.DEFAULT_BUDGET_MS
    assert declare(budget_ms=0.0)[1].pipeline.budget_ms == 0.0


def test_an_integer_is_good_where_a_float_is_meant(declare):
    _, declared = declare(**{'mapper.voxel_size_m': 1, 'max_range_m': 3})
    assert declared.pipeline.mapper.config.voxel_size_m == 1.0
    assert declared.node.max_range_m == 3.0


def test_options_of_the_chosen_plugin_appear(declare):
    node, _ = declare(**{'reconstructor.plugin': 'visual_hull', 'pose_source.plugin': 'static'})
    assert node.has_parameter('reconstructor.hit_probability')
    assert node.has_parameter('pose_source.in_camera_frame')
    assert not node.has_parameter('pose_source.cache_s')


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'sync_slop_s': 7.0}, ['sync_slop_s', '0.0', '1.0']),
        ({'sync_slop_s': 'soon'}, ['sync_slop_s', 'soon']),
        ({'mapper.voxel_size_m': -1.0}, ['mapper.voxel_size_m']),
        ({'pose_source.plugin': 'psoe'}, ['pose_source', "'pose'"]),
        ({'detector.plugin': 'depth_clusters'}, ['detector', "'depth_cluster'"]),
        ({'cameras': ['a', 'a']}, ['cameras']),
        ({'cameras': ['front-left']}, ['cameras', 'letters']),
        ({'image_transport': 'zip'}, ['image_transport', 'raw']),
        ({'sinks': ['object_pose']}, ['sink', "'object_poses'"]),
        ({'use_depth': False, 'use_color': False}, ['use_color']),
        (
            {'pose_source.plugin': 'static', 'pose_source.rotation_xyzw': [0.0, 0.0, 0.0, 0.0]},
            ['rotation_xyzw'],
        ),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(declare, values, words):
    with pytest.raises(InputError) as caught:
        declare(**values)
    text = str(caught.value)
    assert '\n' not in text
    assert all(word in text for word in words), text


def test_changes_are_checked_and_applied(declare):
    node, declared = declare()
    applied = []
    node.add_on_set_parameters_callback(
        parameters.on_set_callback(
            lambda: declared, lambda new, changes: applied.append(changes), lambda: True
        )
    )
    good = node.set_parameters([Parameter('sync_slop_s', value=0.05)])[0]
    assert good.successful
    assert applied == [{'sync_slop_s': 0.05}]
    for name, value in (
        ('sync_slop_s', 9.0),
        ('mapper.voxel_size_m', 0.02),
        ('cameras', ['b']),
        ('save_directory', 3),
    ):
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful, name
        assert result.reason
    assert len(applied) == 1


def test_a_misspelt_parameter_is_told(context):
    overrides = [Parameter('sinc_slop_s', value=0.1), Parameter('use_sim_time', value=False)]
    node = Node('misspelt', context=context, parameter_overrides=overrides)
    lines = parameters.unknown_overrides(node, parameters.declare(node))
    node.destroy_node()
    assert len(lines) == 1
    assert 'sync_slop_s' in lines[0]


def test_flat_values_make_the_same_parameters_again():
    first = NodeParameters.from_values({'mapper.voxel_size_m': 0.02, 'cameras': ['a', 'b']})
    assert NodeParameters.from_values(first.flat()) == first


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_fits_the_node(path):
    shared = config.read_yaml(path)
    own = config.read_yaml(path, '/**/recon3d')
    assert own['cameras']
    flat = _flatten({**shared, **own})
    made = NodeParameters.from_values(flat).flat()
    assert {key: made[key] for key in flat} == flat


def _flatten(values, prefix=''):
    flat = {}
    for key, value in values.items():
        name = f'{prefix}{key}'
        flat.update(_flatten(value, f'{name}.') if isinstance(value, dict) else {name: value})
    return flat


SHOW = """
import json, rclpy, sys
from recon3d_ros import parameters
rclpy.init(args=sys.argv)
node = rclpy.create_node('recon3d')
print(json.dumps(parameters.declare(node).flat()))
"""


@pytest.mark.parametrize('extra', [[], ['-r', '__ns:=/robot/arm']], ids=['root', 'namespace'])
def test_rclpy_reads_both_sections_and_the_command_line_wins(extra):
    path = str(ROOT / 'config/mobile_rgbd.yaml')
    arguments = [
        '--ros-args',
        '--params-file',
        path,
        '-p',
        'pose_source.plugin:=odometry',
        '-p',
        'mapper.voxel_size_m:=0.05',
        '-p',
        'sinks:=[object_poses]',
        *extra,
    ]
    done = subprocess.run(
        [sys.executable, '-c', SHOW, *arguments],
        cwd=ROOT,
        env=os.environ,
        text=True,
        capture_output=True,
        timeout=100,
        check=True,
    )
    flat = json.loads(done.stdout)
    assert flat['max_range_m'] == 6.0  # the node's section
    assert flat['detector.max_size_m'] == 1.6  # the shared one
    assert flat['pose_source.plugin'] == 'odometry'
    assert flat['mapper.voxel_size_m'] == 0.05
    assert flat['sinks'] == ['object_poses']
