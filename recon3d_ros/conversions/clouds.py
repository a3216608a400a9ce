"""PointCloud2 to and from structured arrays."""

from __future__ import annotations

import array
from collections.abc import Callable
import dataclasses
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.checks import check_shape
from recon3d_core.errors import FrameError
from recon3d_ros.conversions import libraries
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

Structured = NDArray[np.void]

SCENE_DTYPE = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<f4')])
"""Fields of a coloured cloud; `rgb` holds 0x00RRGGBB in a float's bits, as PCL and RViz read it."""

OBJECT_DTYPE = np.dtype(
    [*SCENE_DTYPE.descr, ('object_id', '<u4'), ('p_occ', '<f4'), ('observed', 'u1')]
)
"""Fields of the objects' points: which object, how probably solid, and whether it was seen."""

GREY = 190
"""Colour of points that have none."""

_DATATYPES = {
    PointField.INT8: 'i1',
    PointField.UINT8: 'u1',
    PointField.INT16: 'i2',
    PointField.UINT16: 'u2',
    PointField.INT32: 'i4',
    PointField.UINT32: 'u4',
    PointField.FLOAT32: 'f4',
    PointField.FLOAT64: 'f8',
}
_DATATYPE_OF = {text: number for number, text in _DATATYPES.items()}


@dataclasses.dataclass(frozen=True)
class CloudLibrary:
    """What turns structured arrays (N,) into messages and back.

    Attributes:
        name: Its name.
        pack: Message of a header, fields and a packed little-endian structured array (N,).
        unpack: Structured array (N,) of a message that was checked.
    """

    name: str
    pack: Callable[[Header, list[PointField], Structured], PointCloud2]
    unpack: Callable[[PointCloud2], Structured]


def _standin_pack(header: Header, fields: list[PointField], points: Structured) -> PointCloud2:
    message = PointCloud2(header=header, height=1, width=len(points), fields=fields)
    message.point_step = points.dtype.itemsize
    message.row_step = points.nbytes
    message.is_bigendian = False
    # Any other value of data has each byte checked in Python where fields are checked (Humble).
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(points).view(np.uint8).data)
    message.data = data
    return message


def _standin_unpack(message: PointCloud2) -> Structured:
    dtype = dtype_of(message)
    shape = (message.height, message.width)
    strides = (message.row_step, message.point_step)
    return np.ndarray(shape, dtype, message.data, 0, strides).reshape(-1)


STANDIN = CloudLibrary('recon3d', _standin_pack, _standin_unpack)


def ros_library() -> CloudLibrary | None:
    """Return `sensor_msgs_py` as a cloud library, or None where it cannot be used."""
    module = libraries.point_cloud2()
    if module is None:
        return None

    def pack(header: Header, fields: list[PointField], points: Structured) -> PointCloud2:
        if len(points) == 0:  # it cannot view an array without elements as bytes
            return _standin_pack(header, fields, points)
        return module.create_cloud(header, fields, points)

    def unpack(message: PointCloud2) -> Structured:
        padded = message.row_step != message.point_step * message.width
        # It knows no padded rows, and swaps the bytes of big-endian data in place.
        if padded or message.is_bigendian:
            return _standin_unpack(message)
        return np.asarray(module.read_points(message))

    return CloudLibrary('sensor_msgs_py', pack, unpack)


def cloud_library() -> CloudLibrary:
    """Return the library in use."""
    return ros_library() or STANDIN


def scene_points(
    points_m: NDArray[np.floating], colors: NDArray[np.uint8] | None = None
) -> Structured:
    """Return points (N, 3) and their colours (N, 3) RGB as a structured array of SCENE_DTYPE."""
    return _fill(np.empty(len(points_m), SCENE_DTYPE), points_m, colors)


def object_points(
    points_m: NDArray[np.floating],
    colors: NDArray[np.uint8] | None,
    object_id: int,
    p_occ: NDArray[np.floating],
    observed: NDArray[np.bool_],
) -> Structured:
    """Return an object's points as a structured array of OBJECT_DTYPE.

    Args:
        points_m: (N, 3).
        colors: (N, 3) uint8 RGB, or None.
        object_id: The object.
        p_occ: (N,) probability in [0, 1] that there is matter.
        observed: (N,) whether a camera saw the point.
    """
    points = _fill(np.empty(len(points_m), OBJECT_DTYPE), points_m, colors)
    points['object_id'] = object_id
    points['p_occ'] = p_occ
    points['observed'] = observed
    return points


def _fill(
    points: Structured, points_m: NDArray[np.floating], colors: NDArray[np.uint8] | None
) -> Structured:
    check_shape('points_m', points_m, ('N', 3))
    # x, y and z as one item of 12 bytes: three times as quick as one after the other.
    triple = np.dtype({'names': ['xyz'], 'formats': ['V12'], 'itemsize': points.itemsize})
    points.view(triple)['xyz'] = np.ascontiguousarray(points_m, '<f4').view('V12')[:, 0]
    rgb = np.zeros((len(points), 4), np.uint8)  # bytes B G R 0 of the little-endian number
    if colors is None:
        rgb[:, :3] = GREY
    else:
        check_shape('colors', colors, (len(points), 3))
        rgb[:, 0], rgb[:, 1], rgb[:, 2] = colors[:, 2], colors[:, 1], colors[:, 0]
    points['rgb'] = rgb.view('<f4')[:, 0]
    return points


def cloud_message(
    points: Structured, header: Header, library: CloudLibrary | None = None
) -> PointCloud2:
    """Return the message of a packed structured array (N,) such as `scene_points` makes.

    Args:
        points: Points; every field a little-endian number.
        header: Frame and stamp.
        library: What packs; the library in use where None.
    """
    fields = [
        PointField(name=name, offset=offset, datatype=_DATATYPE_OF[kind.str[1:]], count=1)
        for name, (kind, offset) in (points.dtype.fields or {}).items()
    ]
    message = (library or cloud_library()).pack(header, fields, points)
    message.is_dense = all(bool(np.isfinite(points[axis]).all()) for axis in 'xyz')
    return message


def dtype_of(message: PointCloud2) -> np.dtype[np.void]:
    """Return the structured dtype of a message's points.

    Raises:
        FrameError: `bad_encoding`, a field's type is unknown, or it lies outside of the point.
    """
    order = '>' if message.is_bigendian else '<'
    names: list[str] = []
    formats: list[Any] = []
    for index, field in enumerate(message.fields):
        text = _DATATYPES.get(field.datatype)
        name = field.name or f'unnamed_field_{index}'
        if text is None or field.count < 1 or name in names:
            raise FrameError('bad_encoding', f'field {name!r} of a cloud', field, 'a known type')
        if field.offset + field.count * int(text[1]) > message.point_step:
            raise FrameError(
                'bad_step', 'point_step of a cloud', message.point_step, f'room for {name!r}'
            )
        names.append(name)
        formats.append(order + text if field.count == 1 else (order + text, (field.count,)))
    return np.dtype(
        {
            'names': names,
            'formats': formats,
            'itemsize': int(message.point_step),
            'offsets': [int(field.offset) for field in message.fields],
        }
    )


def points_from_cloud(message: PointCloud2, library: CloudLibrary | None = None) -> Structured:
    """Return the points of a message as a structured array (N,), without copying where possible.

    Args:
        message: Any cloud.
        library: What unpacks; the library in use where None.

    Raises:
        FrameError: `bad_step` (a row is shorter than its points), `short_data`, or `bad_encoding`.
    """
    dtype = dtype_of(message)
    if not dtype.names:
        raise FrameError('bad_encoding', 'cloud', 'no fields', 'at least x, y, z')
    if message.row_step < message.point_step * message.width:
        raise FrameError(
            'bad_step',
            'row_step of a cloud',
            message.row_step,
            f'>= {message.point_step * message.width}',
        )
    needed = message.row_step * message.height
    if len(message.data) < needed:
        raise FrameError('short_data', 'data of a cloud', len(message.data), f'>= {needed} bytes')
    if needed == 0:
        return np.empty(0, dtype)
    return (library or cloud_library()).unpack(message)


def xyz_from_points(points: Structured) -> NDArray[np.float32]:
    """Return the coordinates (N, 3) of structured points.

    Raises:
        FrameError: `bad_encoding`, x, y or z is missing.
    """
    if not {'x', 'y', 'z'} <= set(points.dtype.names or ()):
        raise FrameError('bad_encoding', 'fields of a cloud', points.dtype.names, 'x, y, z')
    return np.stack([points[axis].astype(np.float32) for axis in 'xyz'], -1)


def rgb_from_points(points: Structured) -> NDArray[np.uint8]:
    """Return the colours (N, 3) RGB of structured points with an `rgb` field of four bytes.

    Raises:
        FrameError: `bad_encoding`, there is no such field.
    """
    if 'rgb' not in (points.dtype.names or ()) or points.dtype['rgb'].itemsize != 4:
        raise FrameError('bad_encoding', 'fields of a cloud', points.dtype.names, 'rgb')
    column = np.ascontiguousarray(points['rgb'])
    native = column.astype(column.dtype.newbyteorder('<' if sys.byteorder == 'little' else '>'))
    number = native.view(np.uint32)
    return np.stack([(number >> shift & 255).astype(np.uint8) for shift in (16, 8, 0)], -1)
