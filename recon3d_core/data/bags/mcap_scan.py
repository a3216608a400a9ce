"""Reading an MCAP file that was never finished: front to back, as far as it is whole.

The format is that of https://mcap.dev/spec; only what a recording of ROS 2 needs is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import io
from pathlib import Path
import struct
import sys
from typing import BinaryIO
import zlib

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_MAX_RECORD = 1 << 30
_BROKEN = (struct.error, ValueError, EOFError, RuntimeError, zstd.ZstdError)


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield (code, content) of the records that are whole."""
    while True:
        head = file.read(9)
        if len(head) < 9:
            return
        code, length = struct.unpack('<BQ', head)
        if length > _MAX_RECORD:
            return
        content = file.read(length)
        if len(content) < length:
            return
        yield code, content


def _string(content: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from('<I', content, at)
    end = at + 4 + length
    return content[at + 4 : end].decode(errors='replace'), end


def _unpack_chunk(content: bytes) -> bytes:
    """Return the records of a chunk; ValueError and such where it is damaged."""
    size, crc = struct.unpack_from('<QI', content, 16)
    compression, at = _string(content, 28)
    data = content[at + 8 :]
    if size > _MAX_RECORD:
        raise ValueError('chunk of absurd size')
    if compression == 'zstd':
        data = zstd.decompress(data)
    elif compression == 'lz4':
        data = lz4.frame.decompress(data)
    if len(data) != size or (crc and zlib.crc32(data) != crc):
        raise ValueError('chunk is damaged')
    return data


class McapScan:
    """The messages of an MCAP file without using its index.

    Attributes:
        topics: `{topic: type}`.
        counts: `{topic: number of messages}`.
        damaged: How many chunks were unreadable.
    """

    def __init__(self, path: Path) -> None:
        """Scan the file once for its topics and counts.

        Raises:
            ValueError: It is no MCAP file.
        """
        self.path = path
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.damaged = 0
        for topic, kind, _, _ in self._scan():
            self.topics[topic] = kind
            self.counts[topic] += 1

    def messages(self, topics: set[str]) -> Iterator[tuple[str, str, int, bytes]]:
        """Yield (topic, type, log time in ns, data) as they were written, chunk by chunk sorted."""
        if topics & set(self.topics):
            yield from self._scan(topics)

    def _scan(self, topics: set[str] | None = None) -> Iterator[tuple[str, str, int, bytes]]:
        """Yield the messages of some topics, or of all but without their data."""
        self.damaged = 0
        schemas: dict[int, str] = {}
        channels: dict[int, tuple[str, str]] = {}
        with self.path.open('rb') as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError('no MCAP file')
            for code, content in _records(file):
                if code == _DATA_END:
                    return
                if code != _CHUNK:
                    yield from _message(code, content, schemas, channels, topics)
                    continue
                try:
                    chunk = io.BytesIO(_unpack_chunk(content))
                    found = [
                        m
                        for inner, data in _records(chunk)
                        for m in _message(inner, data, schemas, channels, topics)
                    ]
                except _BROKEN:
                    self.damaged += 1
                    continue
                yield from sorted(found, key=lambda message: message[2])


def _message(
    code: int,
    content: bytes,
    schemas: dict[int, str],
    channels: dict[int, tuple[str, str]],
    topics: set[str] | None,
) -> Iterator[tuple[str, str, int, bytes]]:
    """Yield the message of a record, if wanted; remember a schema or channel."""
    if code == _SCHEMA:
        schemas[struct.unpack_from('<H', content)[0]] = _string(content, 2)[0]
    elif code == _CHANNEL:
        number, schema = struct.unpack_from('<HH', content)
        channels[number] = _string(content, 4)[0], schemas.get(schema, '')
    elif code == _MESSAGE:
        number, _, log_time_ns = struct.unpack_from('<HIQ', content)
        topic, kind = channels.get(number, ('', ''))
        if topic and (topics is None or topic in topics):
            yield topic, kind, log_time_ns, b'' if topics is None else content[22:]
