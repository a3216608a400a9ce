"""A real graph for the sinks: a lifecycle node, and listeners in another node."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import open3d as o3d
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recon3d_core.geometry.grids import VoxelGrid
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.types import (
    Mesh,
    ObjectEstimate,
    OccupancyGrid2D,
    PointCloud,
    Scene,
    SelfCheck,
    Shape,
)
from recon3d_ros.sinks.base import Snapshot

STAMP_NS = 1_700_000_000_250_000_000
WAIT_S = 10.0


def make_object(object_id=1, revision=1, center=(0.5, 0.0, 0.1), radius=0.05, label='mug'):
    """Return a ball of which the upper half was seen."""
    ball = o3d.geometry.TriangleMesh.create_sphere(radius, 20)
    vertices = (np.asarray(ball.vertices) + center).astype(np.float32)
    faces = np.asarray(ball.triangles, np.int32)
    seen = vertices[faces].mean(1)[:, 2] > center[2]
    colors = np.full((len(vertices), 3), (200, 40, 10), np.uint8)
    voxel = radius / 8
    grid = VoxelGrid(make_transform(None, np.array(center) - 12 * voxel), voxel, (24, 24, 24))
    offset = grid.centers_world_m() - np.array(center, np.float32)
    inside = np.linalg.norm(offset, axis=-1) < radius
    probability = np.where(offset[..., 2] > 0, 0.95, 0.7)
    return ObjectEstimate(
        id=object_id,
        label=label,
        score=0.8,
        mesh=Mesh(vertices, faces, colors, seen),
        shape=Shape(grid, (inside * probability).astype(np.float32), views_used=3),
        T_world_object=make_transform(None, center),
        size_m=np.full(3, 2 * radius),
        views_used=3,
        watertight=True,
        volume_m3=4 / 3 * np.pi * radius**3,
        seen_fraction=0.5,
        self_check=SelfCheck(0.9, 0.002, True),
        first_stamp_ns=STAMP_NS,
        last_stamp_ns=STAMP_NS,
        revision=revision,
    )


def make_scene(*objects):
    """Return a scene of objects with a surface and a map."""
    floor = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        np.full((4, 3), 90, np.uint8),
    )
    cells = np.full((6, 4), -1, np.int8)
    cells[5, 0] = 100
    return Scene(
        STAMP_NS,
        {item.id: item for item in objects},
        floor,
        PointCloud(floor.vertices_m, floor.colors),
        (),
        OccupancyGrid2D(np.eye(4), 0.1, cells),
    )


def snapshot(*objects, stamp_ns=STAMP_NS, frame_id='map', **scene):
    """Return a snapshot of a scene of objects."""
    return Snapshot(dataclasses.replace(make_scene(*objects), **scene), frame_id, stamp_ns)


class Graph:
    """A lifecycle node `recon3d`, and listeners that join whenever asked."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = LifecycleNode('recon3d', context=self.context)
        self.listener = rclpy.create_node('listener', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.listener)

    def start(self, sink_type, config=None):
        """Return an active sink."""
        self.node.trigger_configure()
        sink = sink_type(self.node, config)
        self.node.trigger_activate()
        return sink

    def listen(self, message_type, topic, *, late=False, depth=1):
        """Return the list to which arriving messages are appended."""
        received = []
        durability = DurabilityPolicy.TRANSIENT_LOCAL if late else DurabilityPolicy.VOLATILE
        qos = QoSProfile(
            depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=durability
        )
        self.listener.create_subscription(
            message_type, topic.replace('~', '/recon3d'), received.append, qos
        )
        return received

    def joined(self, sink, count=1):
        """Wait until a sink sees its subscribers."""
        self.until(lambda: sink.subscribers() >= count)

    def until(self, condition):
        """Spin until a condition holds; fail after a while."""
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, 'nothing arrived'
            self.executor.spin_once(timeout_sec=0.02)

    def settle(self, seconds=0.2):
        """Spin for a while, for messages that must not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)

    def close(self):
        """End the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        self.context.shutdown()
