"""Data sets of objects seen by cameras; `load_dataset` finds the right one."""

from __future__ import annotations

from typing import Any

from recon3d_core import config, registry
from recon3d_core.data.sets.base import DataSet


def load_dataset(uri: str, **options: Any) -> DataSet:
    """Open a data set.

    Args:
        uri: `procedural`, `household`, `r2n2:ROOT` or another `NAME[:WHERE]` of the registry.
        **options: Options of its `Config`.

    Raises:
        UnknownPluginError: No data set has that name.
        ConfigError: An option is unknown, of the wrong type or out of range.
        SourceError: Its files cannot be read.
    """
    name, _, where = uri.partition(':')
    kind = registry.load('dataset', name)
    dataset: DataSet = kind(where, config.validate(kind.Config, options, prefix=name))
    return dataset
