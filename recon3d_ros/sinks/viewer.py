"""The scene as a web page, for who has a browser and no RViz."""

from __future__ import annotations

from typing import Any

from recon3d_core.config import option
from recon3d_core.interfaces import PluginConfig
from recon3d_core.viewer.content import Content, ShownObject
from recon3d_core.viewer.page import Page
from recon3d_ros.sinks.base import Sink, SinkConfig, Snapshot


class ViewerConfig(SinkConfig):
    """Options of the page."""

    max_rate_hz: float = option(
        1.0, 'Upper bound of the rate of updates.', unit='Hz', ge=0.1, le=100.0, live=True
    )
    host: str = option(
        '127.0.0.1', 'Address that the page is served at; 0.0.0.0 lets other machines in.'
    )
    port: int = option(
        8080, 'First port to try; where it is in use the next ones are taken.', ge=1, le=65535
    )


class Viewer(Sink):
    """Shows the scene and its objects in a web page; opened by the parameter `viewer`.

    Nothing is computed for it while no browser shows the page.
    """

    name = 'viewer'
    Config = ViewerConfig
    parts = frozenset({'mesh'})
    on_request = True
    libraries = {'viser': 'pip install viser'}

    def __init__(self, node: Any, config: PluginConfig | None = None) -> None:
        """Serve the page.

        Raises:
            RunError: viser is missing, or the address cannot be served at.
        """
        super().__init__(node, config)
        self.page = Page(self.config.host, self.config.port)
        node.get_logger().info(f'viewer: open {self.page.url} in a browser')

    def subscribers(self) -> int:
        """Return how many browsers show the page."""
        return self.page.clients

    def publish(self, snapshot: Snapshot) -> None:
        """Bring the page up to date."""
        objects = {
            number: ShownObject.from_estimate(item)
            for number, item in snapshot.scene.objects.items()
        }
        seconds = snapshot.stamp_ns / 1e9
        status = f'{len(objects)} objects in {snapshot.frame_id} at {seconds:.1f} s'
        self.page.show(Content(objects, snapshot.scene.mesh, status))

    def reset(self) -> None:
        """Empty the page."""
        self.page.clear()

    def close(self) -> None:
        """Close the page."""
        self.page.close()
        super().close()
