"""What an output plugin must do.

A sink is given snapshots, not changes: snapshots may be skipped when publishing is slower than
reconstruction, so a sink that needs changes compares with what it published before.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recon3d_core.config import option, PluginConfig
from recon3d_core.interfaces import Plugin
from recon3d_core.types import ObjectEstimate, Scene
from recon3d_ros.conversions.headers import make_header
from std_msgs.msg import Header

LATCHED = QoSProfile(
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
"""QoS of every output: who joins late gets the last message."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a sink publishes.

    Attributes:
        scene: The scene; its mesh, cloud and map are there only where a subscribed sink asked.
        frame_id: Frame of all coordinates in it.
        stamp_ns: Stamp of the input that it shows.
    """

    scene: Scene
    frame_id: str
    stamp_ns: int


class SinkConfig(PluginConfig):
    """Options that every sink has."""

    max_rate_hz: float = option(
        10.0,
        "Upper bound of the rate of publishing, in the time of the node's clock.",
        unit='Hz',
        ge=0.1,
        le=100.0,
        live=True,
    )


class Sink(Plugin):
    """Publishes snapshots of the scene.

    Attributes:
        parts: Which costly parts of a scene it needs, of `mesh cloud occupancy_grid`.
        on_request: Whether it is used only where it is named, and not with all others.
    """

    Config = SinkConfig
    parts: ClassVar[frozenset[str]] = frozenset()
    on_request: ClassVar[bool] = False

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publishers on a lifecycle node.

        Args:
            node: The rclpy LifecycleNode; only `create_lifecycle_publisher`, `get_clock` and
                `get_logger` are used.
            config: Options of this sink.
        """
        super().__init__(config)
        self.node = node
        self.publishers: list[Any] = []

    def advertise(self, message_type: type, topic: str) -> Any:
        """Return a new publisher with the QoS of outputs; it counts for `wanted`."""
        publisher = self.node.create_lifecycle_publisher(message_type, topic, LATCHED)
        self.publishers.append(publisher)
        return publisher

    def subscribers(self) -> int:
        """Return how many subscriptions the outputs of this sink have."""
        return sum(publisher.get_subscription_count() for publisher in self.publishers)

    @abc.abstractmethod
    def publish(self, snapshot: Snapshot) -> None:
        """Publish a snapshot."""

    def reset(self) -> None:
        """Take back what was published, as far as the messages allow."""

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self.publishers:
            self.node.destroy_publisher(publisher)
        self.publishers.clear()


class ObjectsSink(Sink):
    """Publishes all objects in one message, in the order of their ids; after a reset, none.

    Attributes:
        message_type: Type of the message.
        topic: Its topic.
    """

    message_type: ClassVar[type]
    topic: ClassVar[str]

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Make the publisher."""
        super().__init__(node, config)
        self._publisher = self.advertise(self.message_type, self.topic)
        self._last: Snapshot | None = None

    @abc.abstractmethod
    def message(self, header: Header, objects: list[ObjectEstimate]) -> Any:
        """Return the message of some objects."""

    def publish(self, snapshot: Snapshot) -> None:
        """Publish the objects."""
        self._last = snapshot
        self._send(snapshot, [item for _, item in sorted(snapshot.scene.objects.items())])

    def reset(self) -> None:
        """Publish no objects."""
        if self._last is not None:
            self._send(self._last, [])
            self._last = None

    def _send(self, snapshot: Snapshot, objects: list[ObjectEstimate]) -> None:
        header = make_header(snapshot.frame_id, snapshot.stamp_ns)
        self._publisher.publish(self.message(header, objects))
