"""The page itself: a viser server, and what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
import contextlib
import errno
import socket
import threading
import time
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recon3d_core.errors import RunError
from recon3d_core.geometry.transforms import quaternion_from_rotation
from recon3d_core.types import Frame, Mesh
from recon3d_core.viewer.colors import MODES, object_rgb, PHOTO, solid
from recon3d_core.viewer.content import as_markdown, Content, ShownObject, without_objects
import rich

# Edges of a box by the signs of the corners that they join.
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_EDGES = [(a, b) for a in range(8) for b in range(a) if np.sum(_CORNERS[a] != _CORNERS[b]) == 1]
_SNAP = 0.95  # cosine from which "about z" is taken for z
_CAMERA_IMAGE_PX = 160
_ROOM_M = 1.5  # what is looked at where there are no objects
_PARTS = ('mesh', 'box', 'label')
_PORTS = 50
_END_S = 12.0  # connections that are not answered get 10
_NOTHING = '*Nothing reconstructed yet.*'


def load_viser() -> ModuleType:
    """Return the module `viser`.

    Raises:
        RunError: It cannot be imported.
    """
    try:
        import viser
    except Exception as error:
        raise RunError(
            'the viewer needs viser',
            f'{type(error).__name__}: {error}',
            fix="Install it with `pip install 'recon3d_ros[viewer]'` or `pip install viser`.",
        ) from error
    return viser


class Page:
    """A web page with the surface of a scene and its objects; safe to use from any thread.

    Scene nodes are `/scene`, `/camera`, and `/objects/<id>/{mesh,box,label}`. An object whose
    revision did not change is not sent again.

    Attributes:
        server: The viser server.
        url: Where to look.
    """

    def __init__(self, host: str = '127.0.0.1', port: int = 8080) -> None:
        """Start the server.

        Args:
            host: Address to listen at; `0.0.0.0` lets other machines in.
            port: First port to try; the next ones are taken where it is in use.

        Raises:
            RunError: viser is missing, or no port can be had.
        """
        viser = load_viser()
        # viser waits for ever where it cannot listen.
        port = _free_port(host, port)
        with _quiet():
            self.server: Any = viser.ViserServer(host, port, 'recon3d', verbose=False)
        shown_host = 'localhost' if host in ('0.0.0.0', '127.0.0.1', '::') else host  # noqa: S104
        self.url = f'http://{shown_host}:{self.server.get_port()}'
        self._lock = threading.RLock()
        self._objects: dict[int, ShownObject] = {}
        self._nodes: dict[str, Any] = {}
        self._up: NDArray[np.float64] | None = None
        self._middle_m = np.zeros(3)
        self._make_panel()
        self.server.on_client_connect(self._aim)

    @property
    def clients(self) -> int:
        """How many browsers show the page."""
        return len(self.server.get_clients())

    @property
    def nodes(self) -> Mapping[str, Any]:
        """The nodes of the scene by name."""
        return dict(self._nodes)

    def show(self, content: Content) -> None:
        """Show a scene; objects that are not in it any more disappear."""
        with self._lock, self.server.atomic():
            first = self._up is None
            if first and (content.objects or content.scene_mesh is not None):
                self._set_up(content)
            before = dict(self._objects)
            self._objects = dict(sorted(content.objects.items()))
            for number in before.keys() - self._objects.keys():
                self._remove(*(f'/objects/{number}/{part}' for part in _PARTS))
            for number, item in self._objects.items():
                old = before.get(number)
                if old is None or old.revision != item.revision:
                    self._show_object(item)
            if content.scene_mesh is not None:
                self._show_scene(without_objects(content.scene_mesh, self._objects.values()))
            self._status.content = as_markdown(content.status) or _NOTHING
            self._list_objects()
        if first and self._up is not None:
            for client in self.server.get_clients().values():
                self._aim(client)

    def show_camera(self, frame: Frame) -> None:
        """Show where a frame was taken, with its image."""
        if frame.T_world_camera is None:
            return
        camera = frame.camera
        image = frame.rgb
        if image is not None:
            step = max(1, -(-camera.width // _CAMERA_IMAGE_PX))
            image = image[::step, ::step]
        wxyz, position = _pose(frame.T_world_camera)
        with self._lock:
            self._nodes['/camera'] = self.server.scene.add_camera_frustum(
                '/camera',
                fov=float(2 * np.arctan2(camera.height / 2, camera.K[1, 1])),
                aspect=camera.width / camera.height,
                scale=0.08,
                color=(60, 120, 255),
                image=image,
                wxyz=wxyz,
                position=position,
                visible=self._boxes_of['camera'].value,
            )

    def clear(self) -> None:
        """Show nothing."""
        with self._lock, self.server.atomic():
            self._remove(*self._nodes)
            self._objects = {}
            self._up = None
            self._status.content = _NOTHING
            self._list_objects()

    def close(self) -> None:
        """End the server."""
        loop = self.server.get_event_loop()
        with contextlib.suppress(Exception), _quiet():  # a client that leaves meanwhile
            self.server.stop()
        deadline = time.monotonic() + _END_S
        while loop.is_running() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not loop.is_running():
            _end_tasks(loop)

    def _make_panel(self) -> None:
        gui = self.server.gui
        gui.configure_theme(control_layout='collapsible', show_logo=False, show_share_button=False)
        self._status = gui.add_markdown(_NOTHING)
        with gui.add_folder('Show'):
            self._boxes_of = {
                part: gui.add_checkbox(text, True)
                for part, text in (
                    ('scene', 'surface of the scene'),
                    ('mesh', 'objects'),
                    ('box', 'boxes'),
                    ('label', 'labels'),
                    ('camera', 'camera'),
                )
            }
            self._mode = gui.add_dropdown('colours', MODES, PHOTO)
        for handle in self._boxes_of.values():
            handle.on_update(lambda _: self._apply_visibility())
        self._mode.on_update(lambda _: self._recolor())
        with gui.add_folder('Object'):
            self._choice = gui.add_dropdown('object', ('none',), 'none')
            self._details = gui.add_markdown('')
        self._choice.on_update(lambda _: self._describe())

    def _show_scene(self, mesh: Mesh) -> None:
        if len(mesh.faces):
            self._middle_m = np.median(mesh.vertices_m, axis=0).astype(np.float64)
            self._nodes['/scene'] = self.server.scene.add_mesh_trimesh(
                '/scene', solid(mesh, PHOTO), visible=self._boxes_of['scene'].value
            )
        else:
            self._remove('/scene')

    def _show_object(self, item: ShownObject) -> None:
        self._show_mesh(item)
        scene, base = self.server.scene, f'/objects/{item.id}'
        corners = _CORNERS * item.size_m / 2 @ item.T_world_object[:3, :3].T
        corners += item.T_world_object[:3, 3]
        self._nodes[f'{base}/box'] = scene.add_line_segments(
            f'{base}/box',
            corners[np.array(_EDGES)].astype(np.float32),
            np.array(object_rgb(item.id), np.uint8),
            line_width=2.0,
            visible=self._boxes_of['box'].value,
        )
        top = item.T_world_object @ (0.0, 0.0, float(item.size_m[2]) / 2 + 0.01, 1.0)
        self._nodes[f'{base}/label'] = scene.add_label(
            f'{base}/label',
            f'{item.title} {item.score:.2f}',
            position=tuple(top[:3]),
            visible=self._boxes_of['label'].value,
        )

    def _show_mesh(self, item: ShownObject) -> None:
        name = f'/objects/{item.id}/mesh'
        if not len(item.mesh.faces):
            self._remove(name)
            return
        self._nodes[name] = self.server.scene.add_mesh_trimesh(
            name, solid(item.mesh, self._mode.value), visible=self._boxes_of['mesh'].value
        )

    def _remove(self, *names: str) -> None:
        for name in names:
            node = self._nodes.pop(name, None)
            if node is not None:
                node.remove()

    def _apply_visibility(self) -> None:
        with self._lock:
            for name, node in self._nodes.items():
                node.visible = self._boxes_of[name.rsplit('/', 1)[-1]].value

    def _recolor(self) -> None:
        with self._lock, self.server.atomic():
            for item in self._objects.values():
                self._show_mesh(item)

    def _list_objects(self) -> None:
        titles = tuple(item.title for item in self._objects.values()) or ('none',)
        if titles != tuple(self._choice.options):
            # A list that changes chooses its first entry; who looks at an object goes on to.
            chosen = self._choice.value
            self._choice.options = titles
            if chosen in titles:
                self._choice.value = chosen
        self._describe()

    def _describe(self) -> None:
        with self._lock:
            chosen = self._choice.value
            found = [item for item in self._objects.values() if item.title == chosen]
            self._details.content = found[0].describe() if found else ''

    def _set_up(self, content: Content) -> None:
        """Learn where up is: objects stand on something, so their z axes tell."""
        axes = [item.T_world_object[:3, 2] for item in content.objects.values()]
        up = np.sum(axes, axis=0) if axes else np.array([0.0, 0.0, 1.0])
        length = float(np.linalg.norm(up))
        up = up / length if length > 1e-6 else np.array([0.0, 0.0, 1.0])
        self._up = np.array([0.0, 0.0, 1.0]) if up[2] > _SNAP else up
        self.server.scene.set_up_direction(tuple(self._up))

    def _aim(self, client: Any) -> None:
        """Have a browser look at the objects, or at the scene where there are none."""
        with self._lock:
            if self._up is None:
                return
            center_m, radius_m = self._extent()
            up = self._up
        side = np.cross(up, (0.0, 1.0, 0.0) if abs(up[1]) < 0.9 else (1.0, 0.0, 0.0))
        side /= np.linalg.norm(side)
        with contextlib.suppress(Exception):  # it may be gone already
            client.camera.up_direction = tuple(up)
            client.camera.position = tuple(center_m + radius_m * (1.6 * side + 1.1 * up))
            client.camera.look_at = tuple(center_m)

    def _extent(self) -> tuple[NDArray[np.float64], float]:
        places = [item.T_world_object[:3, 3] for item in self._objects.values()]
        sizes = [float(np.linalg.norm(item.size_m)) for item in self._objects.values()]
        if not places:
            return self._middle_m, _ROOM_M
        center = np.mean(places, axis=0)
        reach = max(float(np.linalg.norm(p - center)) + s for p, s in zip(places, sizes))
        return center, max(reach, 0.2)


def _free_port(host: str, first: int) -> int:
    """Return the first port from `first` on that can be listened at.

    Raises:
        RunError: The address is none of this machine, or all ports that were tried are in use.
    """
    for port in range(first, min(first + _PORTS, 65536)):
        try:
            family, kind, _, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise RunError(
                'the page cannot be served',
                f'{host}:{port}: {error}',
                'an address of this machine',
            ) from error
        return port
    raise RunError('the page cannot be served', f'ports from {first} are in use', 'a free port')


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """End what still waits in a loop that stands: viser leaves the connections of browsers there."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep viser from printing its own banner."""
    console = rich.get_console()
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def _pose(T: NDArray[np.float64]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return quaternion wxyz and position of a pose (4, 4)."""
    return tuple(map(float, quaternion_from_rotation(T[:3, :3]))), tuple(map(float, T[:3, 3]))
