"""ROS parameters, generated from the pydantic models of the core, of the node and of the sinks.

Parameters are the flat, dotted form of the options: `mapper.voxel_size_m`, `pose_source.plugin`,
`sink.object_markers.max_rate_hz`. An option that cannot change while running is read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
import dataclasses
import re
import sys
import typing
from typing import Any, Literal

import pydantic
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from recon3d_core import config, registry
from recon3d_core.config import option, OptionInfo, Options, PluginConfig, PluginSection
from recon3d_core.errors import ConfigError, InputError, PluginError, UnknownPluginError
from recon3d_core.scene.options import DEFAULT_PLUGINS, PipelineConfig

DEFAULT_BUDGET_MS = 60.0
"""Time for object work per frame in the node, which must keep up with a camera at 15 Hz."""

POSE_SOURCE = 'pose_source.plugin'
"""May change while the node is not configured: where TF is missing, another source is taken."""

_INT64_MAX = 2**63 - 1
_NAMESPACE = re.compile('(~?/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*')


class NodeConfig(Options):
    """Options that only the node has."""

    cameras: list[str] = option(
        ['camera'], 'Namespaces of the cameras; each has the topics image, depth, camera_info.'
    )
    world_frame: str = option(
        'map',
        'Frame of all results; poses of the cameras are looked up in it.',
        pattern='^[^/].*$',
    )
    world_z_up: bool = option(
        True, 'Whether the z axis of world_frame points up (REP-103), so that gravity is known.'
    )
    pose_source: PluginSection
    sinks: list[str] = option([], 'Outputs by name; empty means every one that can be loaded.')
    image_transport: Literal['raw', 'compressed'] = option(
        'raw', 'Transport of the colour images; compressed reads <cam>/image/compressed.'
    )
    depth_transport: Literal['raw', 'compressed', 'compressedDepth'] = option(
        'raw', 'Transport of the depth images; compressedDepth reads <cam>/depth/compressedDepth.'
    )
    use_depth: bool = option(True, 'Whether depth images are subscribed to.')
    use_color: bool = option(True, 'Whether colour images are subscribed to.')
    use_masks: bool = option(
        False, 'Whether <cam>/mask is subscribed to: object masks, one number per object.'
    )
    rectified: bool = option(
        False, 'Whether the images are rectified, so that P of camera_info holds and not K and D.'
    )
    sync_slop_s: float = option(
        0.02,
        'Largest difference of the stamps of a colour and a depth image that make a pair.',
        unit='s',
        ge=0.0,
        le=1.0,
        live=True,
    )
    queue_size: int = option(
        6,
        'Complete inputs of a camera that may wait; when there are more, the oldest is dropped. '
        '1 takes the newest only: least delay, but a busy moment costs frames.',
        ge=1,
        le=100,
    )
    min_range_m: float = option(
        0.0, 'Depth below this is ignored.', unit='m', ge=0.0, le=100.0, live=True
    )
    max_range_m: float = option(
        0.0, 'Depth beyond this is ignored; 0 = no limit.', unit='m', ge=0.0, le=1000.0, live=True
    )
    no_input_warning_s: float = option(
        5.0,
        'After this long without a complete input the node says what is missing.',
        unit='s',
        ge=0.5,
        le=600.0,
        live=True,
    )
    save_directory: str = option(
        'recon3d_out', 'Folder into which the service ~/save writes.', live=True
    )
    map_file: str = option(
        'recon3d_map.npz',
        'File that ~/save_map writes and ~/load_map reads: the surface of the scene.',
        live=True,
    )
    viewer: bool = option(
        False,
        'Whether the scene is shown in a web page, at sink.viewer.host and sink.viewer.port.',
    )
    autostart: bool = option(
        True, 'Whether the node configures and activates itself; otherwise a manager does.'
    )

    @pydantic.model_validator(mode='before')
    @classmethod
    def _resolve_plugins(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            values = dict(values)
            section = values.get('pose_source', {})
            values['pose_source'] = config.resolve_section('pose_source', section, 'tf')
        return values

    @pydantic.model_validator(mode='after')
    def _something_to_see(self) -> NodeConfig:
        if not (self.use_color or self.use_depth or self.use_masks):
            raise ValueError('at least one of use_color, use_depth, use_masks must be true')
        return self

    @pydantic.field_validator('cameras')
    @classmethod
    def _distinct_cameras(cls, names: list[str]) -> list[str]:
        if not names or len(set(names)) != len(names):
            raise ValueError('at least one camera, all of different names')
        if not all(map(_NAMESPACE.fullmatch, names)):
            raise ValueError('names that ROS allows: letters, digits and _, no digit first')
        return names


@dataclasses.dataclass(frozen=True)
class NodeParameters:
    """All options of a running node, validated together.

    Attributes:
        pipeline: Those of the pipeline.
        node: Those of the node.
        sinks: Those of each sink in use, by its name.
        skipped: Why each sink that is not in use could not be loaded, by its name.
    """

    pipeline: PipelineConfig
    node: NodeConfig
    sinks: Mapping[str, PluginConfig]
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_values(cls, flat: Mapping[str, Any]) -> NodeParameters:
        """Return the parameters of `{dotted path: value}`; what is absent has its default.

        Raises:
            ConfigError: An option is unknown, of the wrong type or out of range.
            UnknownPluginError: There is no such plugin.
            PluginError: A plugin that was asked for cannot be loaded.
        """
        nested = config.unflatten(flat)
        of_node = {k: nested.pop(k) for k in list(nested) if k in NodeConfig.model_fields}
        of_sinks = nested.pop('sink', {})
        _check_known(nested)
        node = config.validate(NodeConfig, of_node)
        pipeline = config.validate(PipelineConfig, {'budget_ms': DEFAULT_BUDGET_MS} | nested)
        classes, skipped = _sink_classes(node.sinks, viewer=node.viewer)
        sinks = {
            name: config.validate(plugin.Config, of_sinks.get(name, {}), f'sink.{name}')
            for name, plugin in classes.items()
        }
        return cls(pipeline, node, sinks, skipped)

    def options(self) -> list[OptionInfo]:
        """Return every option, those of plugins included, in the order of declaration."""
        found = [*config.describe(self.node), *config.describe(self.pipeline)]
        for name, options in self.sinks.items():
            found += config.describe(options, f'sink.{name}')
        return found

    def flat(self) -> dict[str, Any]:
        """Return `{dotted path: value}` of every option."""
        return {info.path: info.default for info in self.options()}

    def changed(self, changes: Mapping[str, Any], *, configured: bool = True) -> NodeParameters:
        """Return the parameters with some values replaced.

        Args:
            changes: The new values.
            configured: Whether the node is configured; before, the source of poses may change.

        Raises:
            ConfigError: An option is unknown, cannot change while running, or is out of range.
            PluginError: A plugin that was asked for cannot be loaded.
        """
        known = {info.path: info for info in self.options()}
        kept = self.flat()
        for path in changes:
            if path not in known:
                raise ConfigError(
                    f'unknown option {path}', fix=registry.closest(path, list(known))
                )
            if path == POSE_SOURCE and not configured:
                # Another source has other options.
                section = POSE_SOURCE.removesuffix('plugin')
                kept = {key: value for key, value in kept.items() if not key.startswith(section)}
            elif not known[path].live:
                raise ConfigError(
                    f'option {path} cannot change while running',
                    fix='Deactivate and clean up the node first.'
                    if path == POSE_SOURCE
                    else 'Set it in the parameter file and start the node again.',
                )
        return NodeParameters.from_values({**kept, **changes})


def _check_known(pipeline_values: Mapping[str, Any]) -> None:
    known = [*NodeConfig.model_fields, *PipelineConfig.model_fields, 'sink']
    for key in pipeline_values:
        if key not in known:
            raise ConfigError(f'unknown option {key}', fix=registry.closest(key, known))


def _sink_classes(wanted: list[str], *, viewer: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the sinks to use, and why each of the others cannot be."""
    asked = [*wanted, *(['viewer'] if viewer else [])]
    classes = {name: registry.load('sink', name) for name in asked}
    skipped: dict[str, str] = {}
    for name in () if wanted else registry.names('sink'):
        try:
            kind = registry.load('sink', name)
        except PluginError as error:
            skipped[name] = str(error.got)
            continue
        if not kind.on_request:
            classes[name] = kind
    return classes, skipped


def declare(node: Any) -> NodeParameters:
    """Declare all parameters on a node and return their values, overrides applied.

    What plugins are chosen is read first, since it decides which other parameters there are. Those
    that are declared already keep their values.

    Args:
        node: The rclpy node.

    Raises:
        InputError: A value is of the wrong type, out of range, or names no plugin.
        PluginError: A plugin that was asked for cannot be loaded.
    """
    flat = {info.path: _declare_one(node, info) for info in _choices_of_plugins()}
    for info in NodeParameters.from_values(flat).options():
        if info.path not in flat:
            flat[info.path] = _declare_one(node, info)
    return NodeParameters.from_values(flat)


def declare_again(node: Any, on_set: Callable[..., Any]) -> NodeParameters:
    """Declare what came with another source of poses than at the start, and return all values.

    Args:
        node: The rclpy node.
        on_set: Its callback of `on_set_callback`; that a parameter is declared is no change of it.
    """
    node.remove_on_set_parameters_callback(on_set)
    try:
        return declare(node)
    finally:
        node.add_on_set_parameters_callback(on_set)


def _choices_of_plugins() -> list[OptionInfo]:
    """Return the options that decide which others there are, without loading any plugin."""
    defaults = {**DEFAULT_PLUGINS, 'pose_source': 'tf'}
    found = [
        OptionInfo(
            f'{kind}.plugin',
            str,
            name,
            f'Which {kind.replace("_", " ")} to use.',
            '',
            None,
            None,
            tuple(registry.names(kind)),
            False,
        )
        for kind, name in defaults.items()
    ]
    fields = NodeConfig.model_fields
    for name, kind, default in (('sinks', list[str], []), ('viewer', bool, False)):
        text = fields[name].description or ''
        found.append(OptionInfo(name, kind, default, text, '', None, None, (), False))
    return found


def _declare_one(node: Any, info: OptionInfo) -> Any:
    try:
        if node.has_parameter(info.path):
            value = node.get_parameter(info.path).value
        else:
            value = node.declare_parameter(info.path, info.default, descriptor_of(info)).value
    except ParameterException as error:
        found = re.search(r'value \((.*?)\)', str(error))
        value = found.group(1) if found else ' '.join(str(error).split())
        raise ConfigError(f'parameter {info.path}', value, expected_of(info)) from error
    # An empty list has no type in ROS and arrives as a parameter that is not set.
    if value is None and isinstance(info.default, list):
        return []
    return list(value) if isinstance(info.default, list) and not isinstance(value, str) else value


def descriptor_of(info: OptionInfo) -> ParameterDescriptor:
    """Return the ROS descriptor of an option: text, unit, range, and whether it is read-only."""
    text = info.description + (f' [{info.unit}]' if info.unit else '')
    choices = _choices(info)
    descriptor = ParameterDescriptor(
        name=info.path,
        description=text,
        additional_constraints=f'One of: {", ".join(map(str, choices))}' if choices else '',
        read_only=not info.live and info.path != POSE_SOURCE,
        # So that 1 is accepted where 1.0 is meant; the models check the type.
        dynamic_typing=True,
    )
    if info.ge is None and info.le is None:
        return descriptor
    if info.annotation is int:
        low = -_INT64_MAX if info.ge is None else int(info.ge)
        high = _INT64_MAX if info.le is None else int(info.le)
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    else:
        low_m = -sys.float_info.max if info.ge is None else float(info.ge)
        high_m = sys.float_info.max if info.le is None else float(info.le)
        bounds = FloatingPointRange(from_value=low_m, to_value=high_m, step=0.0)
        descriptor.floating_point_range = [bounds]
    return descriptor


def expected_of(info: OptionInfo) -> str:
    """Return in words what an option accepts."""
    choices = _choices(info)
    if choices:
        return f'one of {", ".join(map(str, choices))}'
    name = getattr(info.annotation, '__name__', str(info.annotation))
    if info.ge is None and info.le is None:
        return name
    return f'{name} from {info.ge} to {info.le}'


def _choices(info: OptionInfo) -> tuple[Any, ...]:
    return info.choices or (
        typing.get_args(info.annotation) if typing.get_origin(info.annotation) is Literal else ()
    )


def unknown_overrides(node: Any, parameters: NodeParameters) -> list[str]:
    """Return one line for each value in a parameter file that no option of this node takes."""
    known = [info.path for info in parameters.options()]
    given = getattr(node, '_parameter_overrides', {})  # rclpy offers no public way to list them
    ignored = ('use_sim_time', 'qos_overrides.', 'start_type_description_service')
    return [
        f'unknown parameter {name!r} is ignored. {registry.closest(name, known)}'.strip()
        for name in sorted(given)
        if name not in known and not name.startswith(ignored)
    ]


def on_set_callback(
    current: Callable[[], NodeParameters],
    apply: Callable[[NodeParameters, dict[str, Any]], None],
    configured: Callable[[], bool],
) -> Callable[[list[Any]], SetParametersResult]:
    """Return the callback that checks and applies a change of parameters.

    Args:
        current: Returns the parameters in force.
        apply: Is given the new parameters and the changed values.
        configured: Returns whether the node is configured.
    """

    def callback(changes: list[Any]) -> SetParametersResult:
        known = {info.path for info in current().options()}
        values = {change.name: change.value for change in changes if change.name in known}
        if not values:  # such as use_sim_time or the overrides of QoS
            return SetParametersResult(successful=True)
        try:
            new = current().changed(values, configured=configured())
        except (InputError, PluginError, UnknownPluginError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        flat = new.flat()
        apply(new, {path: flat[path] for path in values})
        return SetParametersResult(successful=True)

    return callback
