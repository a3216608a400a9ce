"""Options are validated with reasons, described once, and read from every form of file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st
import pytest
from recon3d_core import config
from recon3d_core.config import option
from recon3d_core.errors import ConfigError, InputError, UnknownPluginError
from recon3d_core.scene.options import load_config, PipelineConfig


class Inner(config.Options):
    """A nested section."""

    size_m: float = option(0.1, 'Edge.', unit='m', ge=0.01, le=1.0, live=True)
    mode: Literal['fast', 'exact'] = option('fast', 'How.')


class Outer(config.Options):
    """A configuration."""

    rate_hz: float = option(5.0, 'How often.', unit='Hz', ge=0.1, le=60.0)
    names: list[str] = option(['a'], 'Which.')
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'rate_hx': 1}, ['unknown option top.rate_hx', "'rate_hz'"]),
        ({'inner': {'sise_m': 1}}, ['unknown option top.inner.sise_m', "'size_m'"]),
        ({'rate_hz': 0}, ['top.rate_hz', 'got 0', '0.1']),
        ({'rate_hz': 'often'}, ['top.rate_hz', "'often'", 'number']),
        ({'inner': {'size_m': 2.0}}, ['top.inner.size_m', 'got 2.0', 'less than or equal to 1']),
        ({'inner': {'mode': 'slow'}}, ['top.inner.mode', "'slow'", 'fast', 'exact']),
        ({'inner': 3}, ['top.inner', 'got 3']),
        ({'names': 'b'}, ['top.names', 'list']),
        ({'rate_hz': float('nan')}, ['top.rate_hz', 'nan']),
        ({'rate_hz': float('inf')}, ['top.rate_hz', 'inf']),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else '',
)
def test_what_is_wrong_is_named_in_one_line(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        config.validate(Outer, values, prefix='top')
    line = str(caught.value)
    assert '\n' not in line
    assert all(word in line for word in words), line


def test_values_are_checked_when_they_are_set_later() -> None:
    options = Outer()
    options.rate_hz = 7.0
    with pytest.raises(ValueError, match='less than or equal'):
        options.rate_hz = 1000.0
    assert options.rate_hz == 7.0, 'a refused value changes nothing'


def test_defaults_are_not_shared() -> None:
    first, second = Outer(), Outer()
    first.names.append('b')
    first.inner.size_m = 0.5
    assert second.names == ['a']
    assert second.inner.size_m == 0.1


def test_description_has_everything_a_parameter_needs() -> None:
    infos = {info.path: info for info in config.describe(Outer())}
    assert set(infos) == {'rate_hz', 'names', 'inner.size_m', 'inner.mode'}
    size = infos['inner.size_m']
    assert (size.ge, size.le, size.unit, size.live) == (0.01, 1.0, 'm', True)
    assert infos['inner.mode'].choices == ('fast', 'exact')
    assert infos['rate_hz'].description == 'How often.'
    assert not infos['rate_hz'].live


def test_assignments_are_read_as_yaml() -> None:
    texts = ['a.b=0.02', 'a.c=true', 'd=[x, y]', 'e=text=with=signs', 'f=']
    want = {'a': {'b': 0.02, 'c': True}, 'd': ['x', 'y'], 'e': 'text=with=signs', 'f': None}
    assert config.parse_assignments(texts) == want


@pytest.mark.parametrize('text', ['a.b', '=1', 'a=[1', 'a=1 b: {', 'a..b=1', '.a=1'])
def test_assignments_of_the_wrong_form(text: str) -> None:
    with pytest.raises(ConfigError, match='--set'):
        config.parse_assignments([text])


def test_assignment_of_a_value_and_a_section() -> None:
    with pytest.raises(ConfigError, match='a is a value'):
        config.parse_assignments(['a=1', 'a.b=2'])
    with pytest.raises(ConfigError):
        config.parse_assignments(['a.b=2', 'a=1'])


def test_merge_changes_no_argument() -> None:
    base = {'a': {'b': 1, 'c': 2}, 'd': 3}
    over = {'a': {'b': 4}, 'd': {'e': 5}}
    assert config.merge(base, over) == {'a': {'b': 4, 'c': 2}, 'd': {'e': 5}}
    assert base == {'a': {'b': 1, 'c': 2}, 'd': 3}
    assert over == {'a': {'b': 4}, 'd': {'e': 5}}


NAMES = st.text('abc_', min_size=1, max_size=4)
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner | st.integers(), min_size=1, max_size=3),
    max_leaves=8,
)


def flat_form(tree: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Write a nested mapping with dotted keys, the obvious way."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update(flat_form(value, f'{prefix}{name}.'))
        else:
            flat[prefix + name] = value
    return flat


@given(TREES)
def test_dotted_and_nested_forms_mean_the_same(tree: dict[str, Any]) -> None:
    assert config.unflatten(flat_form(tree)) == tree
    assert config.unflatten_nested(flat_form(tree)) == tree
    assert config.unflatten_nested(tree) == tree


ROS_FILE = """
/**:
  ros__parameters:
    mapper.plugin: tsdf
    mapper: {voxel_size_m: 0.02}
/**/recon3d:
  ros__parameters:
    world_frame: odom
"""


def test_ros_parameter_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_text(ROS_FILE)
    assert config.read_yaml(path) == {'mapper': {'plugin': 'tsdf', 'voxel_size_m': 0.02}}
    assert config.read_yaml(path, '/**/recon3d') == {'world_frame': 'odom'}
    assert config.read_yaml(path, '/other') == {}


def test_plain_file(tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_text('mapper: {plugin: tsdf}\nmesh.rate_hz: 3.0\n')
    assert config.read_yaml(path) == {'mapper': {'plugin': 'tsdf'}, 'mesh': {'rate_hz': 3.0}}
    assert config.read_yaml(path, '/**/recon3d') == {}


@pytest.mark.parametrize(
    'text',
    [
        'a: [1',
        '- a\n- b',
        'just text',
        '/**: {ros__parameters: 3}',
        '/**: 3\n/x: {ros__parameters: {}}',
        '1: 2',
        '\x00',
    ],
)
def test_file_that_is_no_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.read_yaml(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'# only a comment\n', b'/**: {ros__parameters: }\n'])
def test_empty_file_has_no_options(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_bytes(content)
    assert config.read_yaml(path) == {}


def test_file_of_other_bytes(tmp_path: Path) -> None:
    path = tmp_path / 'a.yaml'
    path.write_bytes(b'\xff\xfe\x00binary')
    with pytest.raises(ConfigError, match='cannot be read'):
        config.read_yaml(path)


def test_unknown_configuration_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tabletop_rgbd'"):
        config.find_config('tabletop_rgbdd')
    with pytest.raises(ConfigError, match='absent'):
        config.find_config(str(tmp_path / 'absent.yaml'))


CONFIG_FILES = sorted((Path(__file__).parents[2] / 'config').glob('*.yaml'))


@pytest.mark.parametrize('path', CONFIG_FILES, ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    by_name, by_file = load_config(path.stem), load_config(str(path))
    assert config.flatten(by_name) == config.flatten(by_file)


def test_flattened_configuration_can_be_loaded_again() -> None:
    first = load_config(overrides={'mesh': {'rate_hz': 3.5}})
    again = config.validate(PipelineConfig, config.unflatten(config.flatten(first)))
    assert config.flatten(again) == config.flatten(first)
    assert again.mesh.rate_hz == 3.5


@pytest.mark.parametrize('info', list(config.describe(load_config())), ids=lambda info: info.path)
def test_every_option_is_described_and_its_default_is_in_range(info: config.OptionInfo) -> None:
    assert info.description.endswith('.')
    assert info.ge is None or info.ge <= info.default
    assert info.le is None or info.default <= info.le
    if isinstance(info.default, (int, float)) and not isinstance(info.default, bool):
        assert info.ge is not None, 'a number has bounds'
        assert info.le is not None, 'a number has bounds'
    for unit in ('hz', 'm', 's', 'ms', 'deg', 'rad', 'px'):
        if info.path.endswith(f'_{unit}'):
            assert info.unit.lower() == unit


def test_overrides_reach_a_plugin_and_are_checked() -> None:
    options = load_config(overrides={'detector': {'rate_hz': 2.0}})
    assert options.detector.config.rate_hz == 2.0
    with pytest.raises(ConfigError, match=r"unknown option detector.rate_h[^z].*'rate_hz'"):
        load_config(overrides={'detector': {'rate_h': 2.0}})
    with pytest.raises(ConfigError, match=r'detector\.rate_hz.*got 0'):
        load_config(overrides={'detector': {'rate_hz': 0}})
    with pytest.raises(UnknownPluginError, match='depth_cluster'):
        load_config(overrides={'detector': {'plugin': 'depth_clusters'}})
    with pytest.raises(InputError, match='detector is not a section'):
        load_config(overrides={'detector': 3})
