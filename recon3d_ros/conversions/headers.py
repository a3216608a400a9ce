"""Stamps and headers: integer nanoseconds inside, `builtin_interfaces/Time` outside."""

from __future__ import annotations

from builtin_interfaces.msg import Time
from recon3d_core.errors import InputError
from std_msgs.msg import Header

_NS_PER_S = 1_000_000_000
_MAX_NS = 2**31 * _NS_PER_S - 1


def ns_from_time(time: Time) -> int:
    """Return a time message in nanoseconds."""
    return int(time.sec) * _NS_PER_S + int(time.nanosec)


def time_from_ns(stamp_ns: int) -> Time:
    """Return the time message of a stamp in nanoseconds.

    Raises:
        InputError: The stamp does not fit into the message's 32 bits of seconds.
    """
    if not -_MAX_NS <= stamp_ns <= _MAX_NS:
        raise InputError('stamp', f'{stamp_ns} ns', 'seconds of 32 bits', 'Check the clock.')
    sec, nanosec = divmod(int(stamp_ns), _NS_PER_S)
    return Time(sec=sec, nanosec=nanosec)


def make_header(frame_id: str, stamp_ns: int) -> Header:
    """Return a header of a frame and a stamp in nanoseconds."""
    return Header(stamp=time_from_ns(stamp_ns), frame_id=frame_id)
