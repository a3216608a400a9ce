"""The messages of a rosbag2 recording: a folder, an .mcap or a .db3, finished or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
import contextlib
import dataclasses
import functools
import heapq
import logging
from pathlib import Path
from typing import Any

from recon3d_core.data.bags.mcap_scan import McapScan
from recon3d_core.errors import FrameError, SourceError
from rosbags.rosbag2 import Reader
from rosbags.typesys import get_typestore, Stores
from rosbags.typesys.store import Typestore

logger = logging.getLogger(__name__)
STORAGE = ('.mcap', '.db3')


@dataclasses.dataclass(frozen=True)
class Message:
    """One message as it was recorded.

    Attributes:
        topic: Topic.
        type: ROS type, such as `sensor_msgs/msg/Image`.
        log_time_ns: When it was recorded.
        data: CDR bytes.
    """

    topic: str
    type: str
    log_time_ns: int
    data: bytes


@functools.lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Return the definitions of the common messages; those used here are alike in all releases."""
    return get_typestore(Stores.LATEST)


def decode(message: Message) -> Any:
    """Return a message's content.

    Raises:
        FrameError: `bad_message` where its bytes are no such message.
    """
    try:
        return typestore().deserialize_cdr(message.data, message.type)
    except Exception as error:
        raise FrameError(
            'bad_message',
            f'message on {message.topic} cannot be decoded',
            f'{type(error).__name__}: {" ".join(str(error).split())}',
            message.type,
        ) from error


class BagReader:
    """A recording.

    Attributes:
        topics: `{topic: type}`.
        counts: `{topic: number of messages}`.
    """

    def __init__(self, path: Path) -> None:
        """Look at what is in a recording.

        Raises:
            SourceError: It is no recording, or damaged beyond reading.
        """
        self.path = path
        self.topics: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self._scans: list[McapScan] = []
        self._finished: list[Path] = []
        self._open: list[Reader] = []
        for part in self._parts(path):
            self._look_at(part)

    def messages(self, topics: Iterable[str]) -> Iterator[Message]:
        """Yield the messages of some topics in the order of recording, a few in memory at a time.

        A file that breaks off in the middle ends there, with a warning.
        """
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(Reader(path)) for path in self._finished]
            yield from self._merged(set(topics), readers)

    def peek(self, topics: Iterable[str]) -> Iterator[Message]:
        """Yield like `messages`, but from the files that are open since the beginning.

        To open a file takes long: its metadata are parsed. Do not run two of these at a time.
        """
        yield from self._merged(set(topics), self._open)

    def first(self, topic: str) -> Message | None:
        """Return the first message of a topic, or None; before `close` only."""
        return next(self.peek([topic]), None)

    def close(self) -> None:
        """Close the files for `peek` and `first`; `messages` opens its own."""
        for reader in self._open:
            reader.close()
        self._open.clear()

    def _merged(self, topics: set[str], readers: list[Reader]) -> Iterator[Message]:
        streams = [self._scanned(scan, topics) for scan in self._scans]
        streams += [self._indexed(reader, topics) for reader in readers]
        if len(streams) == 1:
            yield from streams[0]
        else:
            yield from heapq.merge(*streams, key=lambda message: message.log_time_ns)

    def describe_topics(self) -> str:
        """Return topics and types for messages to people."""
        items = [f'{topic} ({kind.rpartition("/")[2]})' for topic, kind in self.topics.items()]
        return ', '.join(sorted(items)) or 'none'

    def _parts(self, path: Path) -> list[Path]:
        if not path.is_dir() or (path / 'metadata.yaml').is_file():
            return [path]
        parts = sorted(part for part in path.iterdir() if part.suffix in STORAGE)
        if not parts:
            raise SourceError(
                f'no recording in {path}', None, 'metadata.yaml, or .mcap or .db3 files'
            )
        return parts

    def _look_at(self, path: Path) -> None:
        try:
            reader = Reader(path)
            reader.open()
            found = [(c.topic, c.msgtype, c.msgcount) for c in reader.connections]
            self._finished.append(path)
            self._open.append(reader)
        except Exception as error:  # noqa: BLE001 - a damaged file may fail in any way
            found = self._salvage(path, error)
        for topic, kind, count in found:
            self.topics[topic] = kind
            self.counts[topic] += count

    def _salvage(self, path: Path, error: Exception) -> list[tuple[str, str, int]]:
        """Return (topic, type, count) of MCAP files that only a scan can read."""
        reason = ' '.join(str(error).split()) or type(error).__name__
        files = sorted(path.glob('*.mcap')) if path.is_dir() else [path]
        try:
            scans = [McapScan(file) for file in files if file.suffix == '.mcap']
        except (OSError, ValueError) as again:
            raise SourceError(f'{path} cannot be read', reason, 'a rosbag2 recording') from again
        if not any(scan.topics for scan in scans):
            raise SourceError(f'{path} cannot be read', reason, 'a rosbag2 recording') from error
        logger.warning('%s is unfinished or damaged (%s): read as far as it goes', path, reason)
        self._scans += scans
        return [
            (topic, kind, scan.counts[topic])
            for scan in scans
            for topic, kind in scan.topics.items()
        ]

    def _scanned(self, scan: McapScan, topics: set[str]) -> Iterator[Message]:
        for topic, kind, log_time_ns, data in scan.messages(topics):
            yield Message(topic, kind, log_time_ns, data)

    def _indexed(self, reader: Reader, topics: set[str]) -> Iterator[Message]:
        chosen = [c for c in reader.connections if c.topic in topics]
        if not chosen:
            return
        last_ns = -1
        try:
            for connection, log_time_ns, data in reader.messages(chosen):
                last_ns = log_time_ns
                yield Message(connection.topic, connection.msgtype, log_time_ns, bytes(data))
        except Exception as error:  # noqa: BLE001 - damage may make it fail in any way
            path = Path(str(reader.path))
            reason = ' '.join(str(error).split())
            logger.warning('%s is damaged (%s): what is readable is read', path, reason)
            for file in sorted(path.glob('*.mcap')) if path.is_dir() else [path]:
                if file.suffix == '.mcap':
                    rest = self._scanned(McapScan(file), topics)
                    yield from (message for message in rest if message.log_time_ns > last_ns)
