"""Sources of frames: recordings and simulations; `load_source` finds the right one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from recon3d_core import config, registry
from recon3d_core.errors import PluginError, SourceError
from recon3d_core.interfaces import Source

logger = logging.getLogger(__name__)

_WANTED = (
    'a folder with frame-*.color/depth/pose files and camera-intrinsics.txt, a rosbag2 folder, '
    'an .mcap or .db3 file, or synthetic:NAME'
)


def load_source(uri: str | Path, **options: Any) -> Source:
    """Open a source of frames.

    Args:
        uri: A path, which the plugins look at, or `plugin:rest` that names the plugin.
        **options: Options of the plugin's `Config`.

    Raises:
        SourceError: There is nothing at this path, or no plugin knows it.
        ConfigError: An option is unknown, of the wrong type or out of range.
    """
    uri = str(uri)
    scheme, colon, rest = uri.partition(':')
    if colon and scheme in registry.names('source'):
        return _make(scheme, rest, options)
    path = Path(uri).expanduser()
    if not path.exists():
        known = [f'{name}:' for name in registry.names('source')]
        hint = registry.closest(f'{scheme}:', known) if colon else ''
        raise SourceError('no such source', repr(uri), _WANTED, hint)
    for name in registry.names('source'):  # one by one: to import all of them takes seconds
        try:
            accepted = registry.load('source', name).accepts(uri)
        except PluginError as error:
            logger.warning('%s', error)
            continue
        if accepted:
            return _make(name, uri, options)
    kind = 'a folder' if path.is_dir() else f'a {path.suffix or "nameless"} file'
    raise SourceError(f'no source is known for {uri}', kind, _WANTED)


def _make(name: str, uri: str, options: dict[str, Any]) -> Source:
    plugin = registry.load('source', name)
    source: Source = plugin(uri, config.validate(plugin.Config, options, prefix=name))
    return source
