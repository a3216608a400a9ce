"""Errors are one line that says what, got, expected and what to do."""

from __future__ import annotations

import pytest
from recon3d_core import errors


def all_errors(base: type = errors.Recon3DError) -> list[type]:
    """Return the whole tree of errors below a class."""
    return [base] + [leaf for child in base.__subclasses__() for leaf in all_errors(child)]


def test_sentence_joins_the_parts_that_are_there() -> None:
    line = errors.sentence('depth image', (3, 4), (480, 640), 'Check the topic.')
    assert line == 'depth image, got (3, 4), expected (480, 640). Check the topic.'
    assert errors.sentence('depth image') == 'depth image'
    assert errors.sentence('rate', got=0) == 'rate, got 0', 'a value of 0 is a value'
    assert errors.sentence('rate', fix='Raise it.') == 'rate. Raise it.'


def test_parts_stay_readable_by_programs() -> None:
    error = errors.InputError('rate', 3, 'below 2', 'Lower it.')
    assert (error.what, error.got, error.expected, error.fix) == (
        'rate',
        3,
        'below 2',
        'Lower it.',
    )


@pytest.mark.parametrize('error', all_errors(), ids=lambda error: error.__name__)
def test_exit_code_says_whose_fault_it_is(error: type[errors.Recon3DError]) -> None:
    assert error.exit_code == (2 if issubclass(error, errors.InputError) else 1)


def test_bad_input_is_a_value_error() -> None:
    with pytest.raises(ValueError, match='too far'):
        raise errors.ConfigError('too far')


def test_frame_error_carries_the_key_of_its_counter() -> None:
    error = errors.FrameError('no_pose', 'frame without pose', fix='Publish TF.')
    assert error.reason == 'no_pose'
    assert str(error) == 'frame without pose. Publish TF.'


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    text = errors.__doc__ or ''
    for error in all_errors():
        assert error.__name__ in text
