"""The page: its scene on the server's side, over HTTP, and in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
from pathlib import Path
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from recon3d_core import load_source
from recon3d_core.errors import RunError
from recon3d_core.geometry.transforms import make_transform
from recon3d_core.types import Mesh
from recon3d_core.viewer import page as pages
from recon3d_core.viewer.colors import SEEN
from recon3d_core.viewer.content import Content, ShownObject
import trimesh

pytest.importorskip('viser', reason='viser is not installed (extra `viewer`)')

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
BROWSER = ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--no-sandbox']


def item(number, center=(0.0, 0.0, 0.0), revision=1, rgb=(200, 30, 30)):
    ball = trimesh.creation.icosphere(3, 0.1)
    vertices, faces = (ball.vertices + center).astype(np.float32), ball.faces.astype(np.int32)
    seen = vertices[faces].mean(1)[:, 2] > center[2]
    colors = np.tile(np.uint8(rgb), (len(vertices), 1))
    return ShownObject(
        number, 'mug', 0.75, Mesh(vertices, faces, colors, seen), make_transform(None, center),
        np.full(3, 0.2), 0.5, 7, True, False, 0.9, revision,
    )  # fmt: skip


def floor():
    points = np.float32([[-1, -1, -0.1], [1, -1, -0.1], [1, 1, -0.1], [-1, 1, -0.1]])
    return Mesh(points, np.int32([[0, 1, 2], [0, 2, 3]]), np.full((4, 3), 120, np.uint8))


def content(*items, scene=None, status='two things'):
    return Content({i.id: i for i in items}, scene, status)


def free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


@pytest.fixture
def page():
    with contextlib.closing(pages.Page('127.0.0.1', free_port())) as made:
        yield made


def fetch(url, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_page_is_served_and_says_where(page, capfd):
    status, text = fetch(page.url)
    assert status == 200
    assert '<div id="root">' in text
    assert page.clients == 0
    assert capfd.readouterr().out == '', 'the banner of viser'


def test_the_end_leaves_nothing_of_a_browser_behind():
    client = pytest.importorskip('websockets.sync.client')
    page = pages.Page('127.0.0.1', free_port())
    with client.connect(page.url.replace('http', 'ws')):
        loop = page.server.get_event_loop()
        page.close()
    assert loop.is_closed()
    assert not asyncio.all_tasks(loop)


def test_a_port_in_use_gives_the_next_one(page):
    port = int(page.url.rsplit(':', 1)[1])
    with contextlib.closing(pages.Page('127.0.0.1', port)) as other:
        assert other.url != page.url
        assert fetch(other.url)[0] == 200


def test_objects_come_change_and_go(page):
    page.show(content(item(1), item(2, (0.5, 0, 0)), scene=floor()))
    objects = {f'/objects/{i}/{part}' for i in (1, 2) for part in ('mesh', 'box', 'label')}
    assert set(page.nodes) == {'/scene'} | objects
    kept, changed = page.nodes['/objects/1/mesh'], page.nodes['/objects/2/mesh']
    page.show(content(item(1), item(2, (0.6, 0, 0), revision=2)))
    assert page.nodes['/objects/1/mesh'] is kept, 'what did not change is not sent again'
    assert page.nodes['/objects/2/mesh'] is not changed
    assert '/scene' in page.nodes
    page.show(content(item(2, (0.6, 0, 0), revision=2)))
    assert '/objects/1/mesh' not in page.nodes
    page.clear()
    assert not page.nodes
    page.show(content())
    assert not page.nodes


def test_switches_hide_parts_also_of_what_comes_later(page):
    page.show(content(item(1), scene=floor()))
    page._boxes_of['label'].value = False
    page._boxes_of['scene'].value = False
    page._apply_visibility()
    hidden = {name for name, node in page.nodes.items() if not node.visible}
    assert hidden == {'/objects/1/label', '/scene'}
    page.show(content(item(1), item(2, (0.5, 0, 0)), scene=floor()))
    assert not page.nodes['/objects/2/label'].visible
    assert page.nodes['/objects/2/mesh'].visible
    assert not page.nodes['/scene'].visible


def test_the_panel_describes_the_chosen_object_and_stays_with_it(page):
    page.show(content(item(1), item(2, (0.5, 0, 0))))
    assert page._choice.options == ('1 mug', '2 mug')
    page._choice.value = '2 mug'
    page._describe()
    page.show(content(item(2, (0.5, 0, 0)), item(3, (0.9, 0, 0))))
    assert page._choice.value == '2 mug'
    for words in ('2 mug', '20.0 × 20.0 × 20.0 cm', '0.75', '50% of the surface'):
        assert words in page._details.content
    page.show(content())
    assert page._details.content == ''


def test_colours_of_seen_and_completed(page):
    page.show(content(item(1)))
    before = page.nodes['/objects/1/mesh']
    page._mode.value = SEEN
    page._recolor()
    assert page.nodes['/objects/1/mesh'] is not before
    page.show(content(item(1, revision=2)))


def test_up_is_where_objects_stand(page):
    lying = dataclasses.replace(
        item(1), T_world_object=make_transform([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (0, 0, 0))
    )
    page.show(content(lying))
    np.testing.assert_allclose(page._up, (0, -1, 0), atol=1e-9)
    page.clear()
    page.show(content(item(1)))
    np.testing.assert_allclose(page._up, (0, 0, 1))


def test_the_camera_of_a_frame(page):
    frame = next(iter(load_source('synthetic:single_box?frames=2&width=160&height=120')))
    page.show_camera(frame)
    node = page.nodes['/camera']
    np.testing.assert_allclose(node.position, frame.T_world_camera[:3, 3], atol=1e-5)
    page.show_camera(dataclasses.replace(frame, T_world_camera=None, rgb=None))


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(RunError):
        pages.Page('203.0.113.7', free_port())


def test_without_viser_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'viser', None)
    with pytest.raises(RunError, match='pip install'):
        pages.Page('127.0.0.1', free_port())


@pytest.fixture
def view(tmp_path):
    """Start `recon3d view` and return its process, its address and its words so far."""
    started = []

    def start(*arguments):
        port = free_port()
        log = tmp_path / 'view.log'
        command = [sys.executable, '-m', 'recon3d_core', 'view', *arguments, '--port', str(port)]
        environment = {**os.environ, 'PYTHONUNBUFFERED': '1'}
        with log.open('w') as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, cwd=ROOT, env=environment
            )
        started.append(process)
        return process, f'http://localhost:{port}', log.read_text

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(words, text, process, timeout_s=90.0):
    deadline = time.monotonic() + timeout_s
    while words not in text():
        assert process.poll() is None, text()
        assert time.monotonic() < deadline, text()
        time.sleep(0.1)


@pytest.mark.slow
def test_a_source_is_shown_while_it_is_reconstructed(view):
    process, url, text = view('synthetic:single_box?frames=8&width=320&height=240&path=arc')
    wait_for(url, text, process)
    assert fetch(url)[0] == 200
    wait_for('8 frames, 0 dropped', text, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert 'Traceback' not in text()


@pytest.mark.slow
@pytest.mark.parametrize('what', ['nowhere/at/all', 'synthetic:no_such_scene'])
def test_what_cannot_be_shown_is_one_line_and_2(what, view):
    process, _, text = view(what)
    assert process.wait(90) == 2
    assert text().startswith('error: ')
    assert text().count('\n') == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(CHROMIUM is None, reason='chromium is not installed')
def test_a_browser_draws_it(page, tmp_path):
    api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')
    page.show(content(item(1), item(2, (0.5, 0, 0), rgb=(20, 60, 220)), scene=floor()))
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=BROWSER)
        tab = browser.new_page(viewport={'width': 800, 'height': 500})
        tab.set_default_timeout(120_000)
        tab.goto(page.url)
        tab.get_by_text('two things').wait_for()
        tab.get_by_text('2 mug 0.75').wait_for()
        assert page.clients == 1
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            red, blue = _reds_and_blues(tab.screenshot(timeout=120_000))
            if red > 300 and blue > 300:
                break
        assert red > 300, 'no red object in the picture'
        assert blue > 300, 'no blue object in the picture'
        # In the order of the panel: the scene's surface, the objects, ...
        tab.get_by_role('checkbox').nth(1).uncheck(force=True)
        deadline = time.monotonic() + 60
        while any(count > 100 for count in _reds_and_blues(tab.screenshot(timeout=120_000))):
            assert time.monotonic() < deadline, 'the objects do not go'
        browser.close()


def _reds_and_blues(png):
    import cv2

    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[:, :480].astype(int)
    blue, green, red = np.moveaxis(image, -1, 0)
    return (red - np.maximum(green, blue) > 60).sum(), (blue - np.maximum(green, red) > 60).sum()
