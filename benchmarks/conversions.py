"""Time of the conversions between ROS messages and arrays, beside what one would write first.

Run it with `python benchmarks/conversions.py [--json FILE]`. Each row is the median of repeated
runs after a warm-up; the peers run in the same process, one after the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
import dataclasses
from pathlib import Path
import statistics
import time
from typing import Any

from _common import write_json
from geometry_msgs.msg import Point
import numpy as np
import open3d as o3d
from rclpy.serialization import serialize_message
from recon3d_core.types import Mesh
from recon3d_ros.conversions import clouds, images, markers, meshes
from recon3d_ros.conversions.headers import make_header
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker

POINTS = 100_000
TRIANGLES = 20_000
HEADER = make_header('map', 0)

# Humble and Jazzy always check what is assigned to a field; later ones only where asked to.
CHECKED: dict[str, Any] = {'check_fields': True} if hasattr(Image(), '_check_fields') else {}


@dataclasses.dataclass
class Row:
    """One measured way to do one thing.

    Attributes:
        what: The thing.
        how: The way.
        median_ms: Median time.
        worst_ms: Longest time.
        runs: How many.
        bar_ms: What it must not exceed; None for peers.
    """

    what: str
    how: str
    median_ms: float
    worst_ms: float
    runs: int
    bar_ms: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the bar is met."""
        if self.bar_ms is None:
            return ''
        return f'<= {self.bar_ms:g} ' + ('ok' if self.median_ms <= self.bar_ms else 'MISSED')


def measure(
    what: str, how: str, run: Callable[[], Any], runs: int, bar_ms: float | None = None
) -> Row:
    """Time a function after one warm-up."""
    run()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return Row(what, how, statistics.median(times), max(times), runs, bar_ms)


def image_rows() -> list[Row]:
    """Time 640x480 images."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (480, 640, 3), np.uint8)
    message = images.image_from_color(rgb)
    bgr = images.image_from_color(rgb)
    bgr.encoding = 'bgr8'
    depth = images.image_from_depth(rng.random((480, 640), np.float32) * 3)

    def naive() -> Any:
        return np.array(list(message.data), np.uint8).reshape(480, 640, 3)

    what = 'Image rgb8 640x480 to numpy'
    rows = [
        measure(what, 'recon3d', lambda: images.color_from_image(message), 200, 0.3),
        measure(what, 'peer: list of bytes', naive, 5),
    ]
    library = images.ros_library()
    if library is not None:
        bridge = __import__('cv_bridge').CvBridge()
        rows.append(measure(what, 'peer: cv_bridge', lambda: bridge.imgmsg_to_cv2(message), 200))
    rows += [
        measure('Image bgr8 640x480 to RGB', 'recon3d', lambda: images.color_from_image(bgr), 100),
        measure(
            'Image 16UC1 640x480 to metres', 'recon3d', lambda: images.depth_from_image(depth), 100
        ),
        measure('numpy to Image rgb8', 'recon3d', lambda: images.image_from_color(rgb), 100),
    ]

    def by_bytes() -> Any:
        naive_message = Image(height=480, width=640, step=1920, encoding='rgb8', **CHECKED)
        naive_message.data = rgb.tobytes()
        return naive_message

    rows.append(measure('numpy to Image rgb8', 'peer: bytes, checked', by_bytes, 3))
    return rows


def cloud_rows() -> list[Row]:
    """Time clouds of 100,000 points."""
    rng = np.random.default_rng(0)
    xyz = rng.random((POINTS, 3), np.float32)
    rgb = rng.integers(0, 256, (POINTS, 3), np.uint8)
    chance, seen = xyz[:, 0], xyz[:, 1] > 0.5
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(('x', 'y', 'z', 'rgb'))
    ]

    def scene(library: Any = clouds.STANDIN) -> PointCloud2:
        return clouds.cloud_message(clouds.scene_points(xyz, rgb), HEADER, library)

    def objects() -> PointCloud2:
        points = clouds.object_points(xyz, rgb, 1, chance, seen)
        return clouds.cloud_message(points, HEADER, clouds.STANDIN)

    def by_bytes() -> PointCloud2:
        points = clouds.scene_points(xyz, rgb)
        naive_message = PointCloud2(
            header=HEADER, height=1, width=POINTS, fields=fields, **CHECKED
        )
        naive_message.point_step, naive_message.row_step = 16, 16 * POINTS
        naive_message.data = points.tobytes()
        return naive_message

    message = scene()
    what = f'{POINTS} points xyz rgb to PointCloud2'
    rows = [
        measure(what, 'recon3d', scene, 50, 5.0),
        measure(what, 'peer: bytes, checked', by_bytes, 3),
    ]
    library = clouds.ros_library()
    if library is not None:
        rows.append(measure(what, 'peer: sensor_msgs_py', lambda: scene(library), 50))
    rows += [
        measure(f'{POINTS} points, 7 fields, to PointCloud2', 'recon3d', objects, 50, 5.0),
        measure('PointCloud2 to numpy', 'recon3d', lambda: clouds.points_from_cloud(message), 50),
    ]
    return rows


def mesh_rows() -> list[Row]:
    """Time meshes of 20,000 triangles, until they are bytes for the middleware."""
    ball = o3d.geometry.TriangleMesh.create_sphere(0.1, 71)
    vertices = np.asarray(ball.vertices, np.float32)
    faces = np.asarray(ball.triangles, np.int32)[:TRIANGLES]
    colors = np.random.default_rng(0).integers(0, 256, (len(vertices), 3), np.uint8)
    mesh = Mesh(vertices, faces, colors, vertices[faces].mean(1)[:, 2] > 0)
    tint = (0.3, 0.5, 1.0, 0.6)

    def bulk() -> markers.BulkMarker:
        return markers.triangle_marker(HEADER, 'm', 1, mesh, markers.corner_colors(mesh, tint))

    def naive() -> Any:
        marker = Marker(header=HEADER, type=Marker.TRIANGLE_LIST)
        for face in mesh.faces:
            for corner in face:
                x, y, z = map(float, mesh.vertices_m[corner])
                marker.points.append(Point(x=x, y=y, z=z))
                r, g, b = (float(value) / 255 for value in mesh.colors[corner])
                marker.colors.append(ColorRGBA(r=r, g=g, b=b, a=1.0))
        return serialize_message(marker)

    what = f'{len(faces)} triangles to a serialised Marker'
    return [
        measure(what, 'recon3d', lambda: markers.publishable(bulk()), 20, 100.0),
        measure(what, 'recon3d, plain message', lambda: serialize_message(bulk().message()), 3),
        measure(what, 'peer: a Point per corner', naive, 2),
        measure(
            f'{len(faces)} triangles clustered to 5000',
            'recon3d',
            lambda: meshes.clustered(mesh, 5000),
            10,
        ),
        measure(
            f'{len(faces)} triangles simplified to 5000',
            'recon3d',
            lambda: meshes.simplified(mesh, 5000),
            3,
        ),
    ]


def main() -> int:
    """Run all, print the table, and return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--json', type=Path, help='write the results into this file')
    arguments = parser.parse_args()
    rows = image_rows() + cloud_rows() + mesh_rows()
    width = max(len(row.what) for row in rows)
    print(f'{"what":{width}}  {"how":26}  {"median ms":>10}  {"worst ms":>10}  bar')
    for row in rows:
        print(
            f'{row.what:{width}}  {row.how:26}  {row.median_ms:10.3f}  {row.worst_ms:10.3f}'
            f'  {row.verdict}'
        )
    content = {'rows': [dataclasses.asdict(row) for row in rows]}
    write_json(arguments.json, 'conversions', content)
    return int(any('MISSED' in row.verdict for row in rows))


if __name__ == '__main__':
    raise SystemExit(main())
