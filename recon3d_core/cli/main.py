"""`recon3d`: finds the verb, imports its module, and turns errors into one line and a code.

A verb is a module of this package with a function `command`, annotated as typer wants it.
Exit codes: 0 good, 1 the run failed, 2 bad usage or bad input, 130 interrupted,
143 terminated.
"""

from __future__ import annotations

from collections.abc import Sequence
import contextlib
import importlib
from importlib import metadata, util
import logging
import os
import signal
import sys
import traceback
from typing import Annotated, Any

from recon3d_core.errors import Recon3DError
import typer

VERBS = {
    'run': 'Reconstruct a recording or a synthetic scene into files.',
    'play': 'Publish a source as ROS topics with its own timing, or record it as a bag.',
    'view': 'Show a result in a web page.',
    'predict': 'Predict the shape of the object in photos, with or without poses.',
    'train': 'Train a network by a recipe.',
    'eval': 'Judge networks and baselines on a data set.',
    'eval-scenes': 'Judge the whole pipeline on cluttered scenes with ground truth.',
    'pack': 'Pack objects into one file that is drawn without mesh libraries.',
    'bench': 'Run benchmarks by name and say which bars are met.',
    'doctor': 'Check what of this machine is missing, with the command that mends it.',
    'plugins': 'List every plugin, where it comes from and why it cannot load.',
}
# Our matrices are small: threads of BLAS only take the cores from the other stages.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')

INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143


def version() -> str:
    """Return the installed version, or `unknown` in a checkout that is not installed."""
    try:
        return metadata.version('recon3d_ros')
    except metadata.PackageNotFoundError:
        return 'unknown'


def available_verbs() -> dict[str, str]:
    """Return the verbs whose module is there, with one line about each."""
    return {verb: text for verb, text in VERBS.items() if util.find_spec(_module(verb))}


def _module(verb: str) -> str:
    return f'recon3d_core.cli.{verb.replace("-", "_")}'


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f'recon3d {version()}')
        raise typer.Exit


def _options(
    debug: Annotated[bool, typer.Option('--debug', help='Show tracebacks and all logs.')] = False,
    version: Annotated[
        bool,
        typer.Option(
            '--version', is_eager=True, callback=_print_version, help='Show it and exit.'
        ),
    ] = False,
) -> None:
    """Reconstruct scenes and closed objects from camera images, offline or as a ROS 2 node."""


def _stub() -> None:
    """Stand for a verb that this call does not use."""


def make_app(verb: str | None) -> typer.Typer:
    """Return the application; only the module of `verb` is imported."""
    app = typer.Typer(
        name='recon3d',
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={'help_option_names': ['-h', '--help']},
    )
    app.callback()(_options)
    for name, text in available_verbs().items():
        if name == verb:
            command = importlib.import_module(_module(name)).command
        else:
            command = _stub
        app.command(name, help=None if name == verb else text, short_help=text)(command)
    return app


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split()) or type(error).__name__


def _report(message: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(f'error: {message}', file=sys.stderr)  # noqa: T201 - this is the command line


def _run(arguments: list[str]) -> int:
    verb = next((word for word in arguments if not word.startswith('-')), None)
    app = make_app(verb)
    result: Any = app(args=arguments, prog_name='recon3d', standalone_mode=False)
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _is_usage_error(error: Exception) -> bool:
    # typer brings its own copy of click since 0.20; both have this method and code.
    return hasattr(error, 'format_message') and hasattr(error, 'exit_code')


def exit_code(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code; errors are printed, never raised.

    Args:
        arguments: What follows `recon3d`. `--debug` may stand anywhere.
    """
    debug = '--debug' in arguments
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, format='%(levelname)s: %(message)s', stream=sys.stderr)
    try:
        return _run([word for word in arguments if word != '--debug'])
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:  # noqa: BLE001 - the last resort of the whole program
        return _explain(error, debug)


def _explain(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if _is_usage_error(error):
        text = _one_line(RuntimeError(error.format_message()))  # type: ignore[attr-defined]
        if text and type(error).__name__ != 'NoArgsIsHelpError':
            _report(f'{text.rstrip(".")}. `recon3d --help` lists the verbs and options.')
        return 2
    if type(error).__name__ == 'Abort':
        return INTERRUPTED
    if isinstance(error, Recon3DError):
        _report(_one_line(error))
        return error.exit_code
    hint = '' if debug else ' Run with --debug for the traceback.'
    _report(f'{type(error).__name__}: {_one_line(error).rstrip(".")}.{hint}')
    return 1


def main() -> None:
    """Run `recon3d` with the arguments of the process and exit."""
    # A process that a signal ends leaves its workers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.exit(exit_code(sys.argv[1:]))
