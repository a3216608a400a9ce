"""Messages to bytes, with long sequences of points and colours taken straight from arrays.

rclpy converts `Point[]` and `ColorRGBA[]` element by element, about 8 µs for each corner of a
triangle, while it holds the interpreter: a mesh of 20,000 triangles stops the node for half a
second. A publisher also takes a message that is already serialised, and in CDR (OMG DDSI-RTPS,
the plain little-endian form that every ROS 2 middleware exchanges) such a sequence is a count and
the array's own bytes.

The layout is read from the generated classes, so that it fits the installed distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
import dataclasses
import functools
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosidl_parser.definition import (
    AbstractGenericString,
    AbstractNestedType,
    AbstractSequence,
    AbstractWString,
    Array,
    BasicType,
    NamespacedType,
)

ENCAPSULATION = b'\x00\x01\x00\x00'
"""Header of plain CDR, little-endian, no options."""

_FORMATS = {
    'boolean': '?',
    'octet': 'B',
    'char': 'B',
    'int8': 'b',
    'uint8': 'B',
    'int16': 'h',
    'uint16': 'H',
    'int32': 'i',
    'uint32': 'I',
    'int64': 'q',
    'uint64': 'Q',
    'float': 'f',
    'double': 'd',
}


@dataclasses.dataclass(frozen=True)
class Bulk:
    """A message of which some sequences are held elsewhere.

    Attributes:
        message: The message; its fields named in `sequences` are ignored.
        sequences: `{field: items}`: an array (N, K) for a sequence of structs of K equal numbers,
            in the number's own type, or a list of messages and `Bulk`s.
    """

    message: Any
    sequences: Mapping[str, Any]


def serialize(message: Any) -> bytes:
    """Return a message, or a `Bulk`, in plain little-endian CDR.

    Raises:
        TypeError: It has a field of a type that is not supported (wide strings).
    """
    writer = _Writer()
    writer.message(message)
    return ENCAPSULATION + bytes(writer.buffer)


class _Writer:
    """Appends values at their alignment, counted from the end of the encapsulation header."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def align(self, size: int) -> None:
        self.buffer += bytes(-len(self.buffer) % size)

    def number(self, fmt: str, value: Any) -> None:
        self.align(struct.calcsize(fmt))
        self.buffer += struct.pack(
            '<' + fmt,
            ord(value)
            if isinstance(value, str)
            else value[0]
            if isinstance(value, bytes)
            else value,
        )

    def string(self, text: str) -> None:
        data = text.encode() + b'\0'
        self.number('I', len(data))
        self.buffer += data

    def message(self, message: Any) -> None:
        sequences: Mapping[str, Any] = {}
        if isinstance(message, Bulk):
            message, sequences = message.message, message.sequences
        for name, kind in _layout(type(message)):
            value = sequences[name] if name in sequences else getattr(message, name)
            self.value(kind, value)

    def value(self, kind: Any, value: Any) -> None:
        if isinstance(kind, BasicType):
            self.number(_FORMATS[kind.typename], value)
        elif isinstance(kind, AbstractGenericString) and not isinstance(kind, AbstractWString):
            self.string(value)
        elif isinstance(kind, NamespacedType):
            self.message(value)
        elif isinstance(kind, AbstractNestedType):
            self.items(kind, value)
        else:
            raise TypeError(f'{kind} cannot be serialised')

    def items(self, kind: Any, value: Any) -> None:
        if isinstance(kind, AbstractSequence):
            self.number('I', len(value))
        elif not isinstance(kind, Array):
            raise TypeError(f'{kind} cannot be serialised')
        inner = kind.value_type
        if len(value) == 0:
            return
        if isinstance(inner, BasicType):
            fmt = _FORMATS[inner.typename]
            self.raw(np.asarray(value, dtype='<' + fmt))
        elif isinstance(value, np.ndarray):
            self.raw(value)
        else:
            for item in value:
                self.value(inner, item)

    def raw(self, array: NDArray[Any]) -> None:
        self.align(array.dtype.itemsize)
        little = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
        self.buffer += little.reshape(-1).view(np.uint8).data


@functools.lru_cache(maxsize=64)
def _layout(message_type: type) -> tuple[tuple[str, Any], ...]:
    fields = message_type.get_fields_and_field_types()  # type: ignore[attr-defined]
    return tuple(zip(fields, message_type.SLOT_TYPES))  # type: ignore[attr-defined]
