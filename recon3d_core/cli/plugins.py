"""`recon3d plugins`: every plugin, where it comes from, and why it cannot load."""

from __future__ import annotations

import dataclasses
from importlib import util
from typing import Annotated

from recon3d_core import registry
from recon3d_core.errors import InputError, PluginError
from rich.console import Console
from rich.table import Table
import typer


@dataclasses.dataclass(frozen=True)
class PluginState:
    """One plugin after trying to load it.

    Attributes:
        entry: What the registry knows without importing it.
        needs: Inputs of a frame it cannot do without.
        problem: Why it cannot load, or an empty string.
        remedy: The command that installs a library that it lacks, or an empty string.
    """

    entry: registry.PluginEntry
    needs: tuple[str, ...] = ()
    problem: str = ''
    remedy: str = ''


def inspect(entry: registry.PluginEntry) -> PluginState:
    """Import a plugin and return its needs, or why it cannot be used."""
    try:
        plugin = registry.load(entry.kind, entry.name)
    except PluginError as error:
        return PluginState(entry, problem=str(error.got))
    needs = tuple(sorted(getattr(plugin, 'needs', ())))
    for module, command in getattr(plugin, 'libraries', {}).items():
        if not _is_installed(module):
            return PluginState(entry, needs, f'the library {module} is not installed', command)
    return PluginState(entry, needs)


def _is_installed(module: str) -> bool:
    """Return whether a module could be imported, without doing so."""
    try:
        return util.find_spec(module) is not None
    except (ImportError, ValueError):  # imported already, or put there, in a strange way
        return False


def inspect_all(kind: str | None = None) -> list[PluginState]:
    """Return the state of every plugin of a kind, or of all kinds in the order of `KINDS`.

    Raises:
        InputError: There is no such kind.
        PluginError: Two plugins have one name, or `RECON3D_PLUGINS` cannot be read.
    """
    if kind is not None and kind not in registry.KINDS:
        known = list(registry.KINDS)
        raise InputError(
            'unknown kind of plugin',
            repr(kind),
            f'one of {", ".join(known)}',
            registry.closest(kind, known),
        )
    ordered = sorted(
        registry.entries(kind), key=lambda entry: (registry.KINDS.index(entry.kind), entry.name)
    )
    return [inspect(entry) for entry in ordered]


def make_table(states: list[PluginState]) -> Table:
    """Return the table of plugins for a terminal."""
    table = Table('kind', 'name', 'from', 'needs', 'state')
    for state in states:
        verdict = '[red]cannot load[/]' if state.problem else '[green]ok[/]'
        verdict = '[yellow]lacks a library[/]' if state.remedy else verdict
        entry = state.entry
        table.add_row(entry.kind, entry.name, entry.origin, ' '.join(state.needs) or '-', verdict)
    return table


def command(
    kind: Annotated[
        str | None, typer.Argument(help='Only this kind, such as detector or sink.')
    ] = None,
) -> None:
    """List every plugin, where it comes from, what it needs and why it cannot load."""
    console, states = Console(), inspect_all(kind)
    console.print(make_table(states))
    for state in states:
        if state.problem:
            line = f'cannot load: {state.entry.kind} {state.entry.name}: {state.problem}'
            if state.remedy:
                line = f'{line}: {state.remedy}'
            console.print(line, soft_wrap=True, markup=False, highlight=False)
