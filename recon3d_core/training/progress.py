"""A bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import sys
import time
from typing import Protocol

_LINE_EVERY_S = 20.0


class Advance(Protocol):
    """Says that steps are done."""

    def __call__(self, done: int, note: str, *, line: bool = False) -> None:
        """Show `done` steps and a note; `line` makes a line of its own of the note."""


def clock(seconds: float) -> str:
    """Return a time as `1:02:03` or `02:03`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes:02}:{rest:02}'


@contextlib.contextmanager
def progress(
    total: int, done: int, title: str, *, unit: str = 'steps', quiet: bool = False
) -> Iterator[Advance]:
    """Show how far something is.

    Args:
        total: Steps of all of it.
        done: Steps done before.
        title: What it is.
        unit: What a step is called.
        quiet: Show nothing, as all processes but the first do.
    """
    if quiet:
        yield lambda *_, **__: None
    elif sys.stderr.isatty():
        with _bar(total, done, title, unit) as advance:
            yield advance
    else:
        yield _lines(total, done, title, unit)


def _lines(total: int, first: int, title: str, unit: str) -> Advance:
    begin = last = time.perf_counter()

    def advance(done: int, note: str, *, line: bool = False) -> None:
        nonlocal last
        now = time.perf_counter()
        if not line and now - last < _LINE_EVERY_S and done < total:
            return
        last = now
        left = (now - begin) / max(1, done - first) * (total - done)
        print(  # noqa: T201 - this is what the command shows
            f'{title}: {done}/{total} {unit}, {note}, {clock(left)} left',
            file=sys.stderr,
            flush=True,
        )

    return advance


@contextlib.contextmanager
def _bar(total: int, first: int, title: str, unit: str) -> Iterator[Advance]:
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:  # a bare GPU machine
        yield _lines(total, first, title, unit)
        return
    from rich.console import Console

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn('{task.fields[note]}'),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=first, note='')

        def advance(done: int, note: str, *, line: bool = False) -> None:
            bar.update(task, completed=done, note=note)
            if line:
                bar.console.print(f'{done}/{total}: {note}', highlight=False)

        yield advance
