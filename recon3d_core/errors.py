"""Errors of the library: each says what is wrong, what was got, what was expected and what to do.

::

    Recon3DError                      anything this library raises on purpose
    ├── InputError (ValueError)       bad usage or bad input; the command line exits with 2
    │   ├── ConfigError               an option is unknown, of the wrong type or out of range
    │   ├── UnknownPluginError        no plugin of that name
    │   ├── WeightsError              weights of this package are missing or broken
    │   ├── SourceError               a source cannot be read at all
    │   └── FrameError                one frame is unusable; counted under `reason` and dropped
    ├── PluginError                   a plugin exists but cannot be loaded or breaks its contract
    └── RunError                      the run failed although its input was good; exits with 1
"""

from __future__ import annotations


def sentence(what: str, got: object = None, expected: object = None, fix: str = '') -> str:
    """Join the parts of an error into one line; absent parts are left out."""
    parts = [what]
    if got is not None:
        parts.append(f'got {got}')
    if expected is not None:
        parts.append(f'expected {expected}')
    line = ', '.join(parts)
    return f'{line}. {fix}' if fix else line


class Recon3DError(Exception):
    """Base of all errors raised on purpose; `str(error)` is one line."""

    exit_code = 1

    def __init__(
        self, what: str, got: object = None, expected: object = None, fix: str = ''
    ) -> None:
        super().__init__(sentence(what, got, expected, fix))
        self.what = what
        self.got = got
        self.expected = expected
        self.fix = fix


class InputError(Recon3DError, ValueError):
    """Bad usage or bad input."""

    exit_code = 2


class ConfigError(InputError):
    """An option is unknown, of the wrong type or out of range."""


class UnknownPluginError(InputError):
    """No plugin of that kind has that name."""


class WeightsError(InputError):
    """The weights that this package should hold are missing or broken."""


class SourceError(InputError):
    """A source cannot be read at all."""


class FrameError(InputError):
    """One frame is unusable: it is dropped and counted under `reason`.

    Attributes:
        reason: Short snake_case key for counters, such as `no_pose` or `bad_depth`.
    """

    def __init__(
        self,
        reason: str,
        what: str,
        got: object = None,
        expected: object = None,
        fix: str = '',
    ) -> None:
        super().__init__(what, got, expected, fix)
        self.reason = reason


class PluginError(Recon3DError):
    """A plugin exists but cannot be loaded, or breaks its contract."""


class RunError(Recon3DError):
    """The run failed although its input was good."""
