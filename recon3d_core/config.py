"""Options: where each is named, typed, bounded, given its unit and described, once.

A plugin declares its options as a `PluginConfig` with `option(...)` fields. From these models
come the YAML files, the ROS parameters with their ranges, the command line's `--set` and the
reference page in `docs/parameters.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import dataclasses
import difflib
from importlib import resources
from pathlib import Path
import typing
from typing import Any

import pydantic
from pydantic import ConfigDict, Field
from recon3d_core import registry
from recon3d_core.errors import ConfigError, InputError
import yaml


class Options(pydantic.BaseModel):
    """Base of every group of options: unknown keys are errors, values are checked when set."""

    model_config = ConfigDict(extra='forbid', validate_assignment=True)


class PluginConfig(Options):
    """Base of a plugin's options; the section of a configuration holds them and `plugin`."""


def option(
    default: Any,
    description: str,
    *,
    unit: str = '',
    ge: float | None = None,
    le: float | None = None,
    live: bool = False,
    pattern: str | None = None,
) -> Any:
    """Declare one option of a configuration.

    Args:
        default: Its default.
        description: One sentence for people.
        unit: Unit of the value, such as `m`, `s`, `Hz`, `rad`, `px`.
        ge: Smallest accepted value.
        le: Largest accepted value.
        live: True where a change takes effect while running.
        pattern: Regular expression that a string must match.
    """
    kwargs: dict[str, Any] = {'ge': ge, 'le': le, 'pattern': pattern}
    kwargs = {key: value for key, value in kwargs.items() if value is not None}
    extra: dict[str, Any] = {'unit': unit, 'live': live}
    if isinstance(default, (list, dict)):
        frozen = default
        return Field(
            default_factory=lambda: frozen.copy(),
            description=description,
            json_schema_extra=extra,
            **kwargs,
        )
    return Field(default, description=description, json_schema_extra=extra, **kwargs)


@dataclasses.dataclass(frozen=True)
class OptionInfo:
    """What is known about one option.

    Attributes:
        path: Dotted name, such as `mapper.voxel_size_m`.
        annotation: Its Python type.
        default: Its value in the configuration at hand.
        description: One sentence for people.
        unit: Unit, or an empty string.
        ge: Smallest accepted value, or None.
        le: Largest accepted value, or None.
        choices: Accepted values, where they are few and named.
        live: True where a change takes effect while running.
    """

    path: str
    annotation: Any
    default: Any
    description: str
    unit: str
    ge: float | None
    le: float | None
    choices: tuple[Any, ...]
    live: bool


class PluginSection(Options):
    """A configuration's section for one plugin: its name and its options.

    In files and parameters it is flat: `{plugin: tsdf, voxel_size_m: 0.01}`.
    """

    kind: str
    plugin: str
    config: pydantic.SerializeAsAny[PluginConfig]


def resolve_section(kind: str, value: Any, default_plugin: str) -> PluginSection:
    """Make the section of a plugin from its flat form.

    Args:
        kind: Kind of the plugin.
        value: `{plugin: name, option: value, ...}`; without `plugin` the default is taken.
        default_plugin: Name of the default plugin.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of range.
        UnknownPluginError: There is no such plugin.
    """
    if isinstance(value, PluginSection):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f'{kind} is not a section', repr(value), 'a mapping of options')
    flat = dict(value)
    name = str(flat.pop('plugin', default_plugin))
    config = validate(registry.load(kind, name).Config, flat, prefix=kind)
    return PluginSection(kind=kind, plugin=name, config=config)


def validate(model: type[Any], values: Mapping[str, Any], prefix: str = '') -> Any:
    """Validate a mapping as a model, with errors of this library.

    Raises:
        ConfigError: The first thing that is wrong, named by its dotted path.
    """
    try:
        return model.model_validate(dict(values))
    except pydantic.ValidationError as error:
        raise _config_error(error, model, prefix) from error


def _config_error(error: pydantic.ValidationError, model: type[Any], prefix: str) -> InputError:
    first = error.errors()[0]
    cause = first.get('ctx', {}).get('error')
    if isinstance(cause, InputError):  # raised by a section's own validation: it says all
        return cause
    location = [str(part) for part in first['loc']]
    path = '.'.join([prefix, *location] if prefix else location)
    if first['type'] == 'extra_forbidden':
        owner = model
        for part in location[:-1]:
            owner = owner.model_fields[part].annotation
        known = sorted(owner.model_fields)
        match = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.0)
        return ConfigError(
            f'unknown option {path}', fix=f'The closest known is {match[0]!r}.' if match else ''
        )
    return ConfigError(f'option {path}', repr(first['input']), first['msg'].lower())


def assign(owner: Options, name: str, value: Any, path: str) -> None:
    """Set one option of a model, with errors of this library.

    Raises:
        ConfigError: The value is of the wrong type or out of range; the old one is kept.
    """
    try:
        setattr(owner, name, value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f'option {path}', repr(value), first['msg'].lower()) from error


def describe(options: Options, prefix: str = '') -> Iterator[OptionInfo]:
    """Yield every option of a configuration, nested sections and plugins included."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        path = f'{prefix}.{name}' if prefix else name
        if isinstance(value, PluginSection):
            known = tuple(registry.names(value.kind))
            text = f'Which {value.kind.replace("_", " ")} to use.'
            yield OptionInfo(
                f'{path}.plugin', str, value.plugin, text, '', None, None, known, False
            )
            yield from describe(value.config, path)
        elif isinstance(value, Options):
            yield from describe(value, path)
        else:
            yield _option_info(path, field, value)


def _option_info(path: str, field: Any, value: Any) -> OptionInfo:
    bounds: dict[str, float | None] = {'ge': None, 'le': None}
    for item in field.metadata:
        for key in bounds:
            bounds[key] = getattr(item, key, bounds[key])
    extra = field.json_schema_extra or {}
    literal = typing.get_origin(field.annotation) is typing.Literal
    return OptionInfo(
        path=path,
        annotation=field.annotation,
        default=value,
        description=field.description or '',
        unit=extra.get('unit', ''),
        ge=bounds['ge'],
        le=bounds['le'],
        choices=typing.get_args(field.annotation) if literal else (),
        live=bool(extra.get('live', False)),
    )


def flatten(options: Options) -> dict[str, Any]:
    """Return `{dotted path: value}` of every option."""
    return {info.path: info.default for info in describe(options)}


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Turn `{a.b: 1}` into `{a: {b: 1}}`.

    Raises:
        ConfigError: A name is empty or no text, or is both a value and a section.
    """
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *sections, name = parts = str(path).split('.')
        if not isinstance(path, str) or not all(parts):
            raise ConfigError('name of an option', repr(path), 'names separated by dots')
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f'option {path}', f'{section} is a value', 'a section')
        if isinstance(place.get(name), dict) and not isinstance(value, Mapping):
            raise ConfigError(f'option {path}', f'{path} is a section', 'a value')
        place[name] = value
    return nested


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over`, section by section."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn `['mapper.voxel_size_m=0.02']` into a nested mapping; values are read as YAML.

    Raises:
        ConfigError: An item has no `=`, an impossible name, or a value that is not YAML.
    """
    flat = {}
    for item in assignments:
        path, separator, text = item.partition('=')
        if not separator or not path:
            raise ConfigError('--set', repr(item), 'option=value')
        try:
            flat[path.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError('--set', repr(item), 'a YAML value', 'Put it in quotes.') from error
    try:
        return unflatten(flat)
    except ConfigError as error:
        raise ConfigError(f'--set: {error.what}', error.got, error.expected) from error


def config_directories() -> list[Path]:
    """Return where named configurations are looked for: the checkout, then the installed share."""
    package = Path(str(resources.files('recon3d_core')))
    places = [package.parent / 'config']
    places += [parent / 'share' / 'recon3d_ros' / 'config' for parent in package.parents]
    return [place for place in places if place.is_dir()]


def find_config(name: str) -> Path:
    """Return the file of a configuration given by name or path.

    Raises:
        ConfigError: There is none; the message lists the known names.
    """
    if name.endswith(('.yaml', '.yml')) and Path(name).is_file():
        return Path(name)
    known: list[str] = []
    for directory in config_directories():
        if (directory / f'{name}.yaml').is_file():
            return directory / f'{name}.yaml'
        known += [path.stem for path in sorted(directory.glob('*.yaml'))]
    raise ConfigError(
        'unknown configuration',
        repr(name),
        f'a .yaml file or one of {", ".join(known) or "(none installed)"}',
        registry.closest(name, known),
    )


def read_yaml(path: Path, node: str = '/**') -> dict[str, Any]:
    """Read the options of a YAML file.

    The file is either a plain mapping of options, or a ROS parameter file, in which the section
    `/**` holds what the core and the node share and `/**/recon3d` what only the node knows.

    Args:
        path: File to read.
        node: Section of a ROS parameter file to return.

    Raises:
        ConfigError: The file is not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            f'{path} cannot be read', ' '.join(str(error).split()), 'a YAML file'
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(f'{path} is not a configuration', type(content).__name__, 'a mapping')
    try:
        return unflatten_nested(_section_for(content, node))
    except ConfigError as error:
        raise ConfigError(f'{path}: {error.what}', error.got, error.expected) from error


def _section_for(content: Mapping[Any, Any], node: str) -> Mapping[str, Any]:
    """Return what a file says to a node; see `read_yaml`."""
    sections = {name: value for name, value in content.items() if isinstance(value, Mapping)}
    if not any('ros__parameters' in section for section in sections.values()):
        return content if node == '/**' else {}
    parameters = sections.get(node, {}).get('ros__parameters') or {}
    known = node in sections or (node in content and content[node] is None) or node != '/**'
    if not known or not isinstance(parameters, Mapping):
        names = ', '.join(map(repr, content))
        raise ConfigError(f'section {node}', f'sections {names}', 'a mapping of ros__parameters')
    return parameters


def unflatten_nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Expand dotted keys at any depth, as ROS parameter files allow both forms."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        inner = unflatten_nested(value) if isinstance(value, Mapping) else value
        nested = merge(nested, unflatten({key: inner}))
    return nested
