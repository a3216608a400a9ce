"""Libraries that are absent, broken or of another NumPy must never stop the node."""

import sys

import pytest

pytest.importorskip('rclpy', reason='rclpy cannot be imported')

from recon3d_ros.conversions import images, libraries

pytestmark = pytest.mark.ros

SEAMS = [libraries.cv_bridge, libraries.point_cloud2, libraries.tf_transformations]
BROKEN = {
    'ImportError': 'raise ImportError("numpy.core.multiarray failed to import")',
    'AttributeError': 'raise AttributeError("_ARRAY_API not found")',
    'SystemError': 'raise SystemError("initialization raised unreported exception")',
}


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Return where to put modules that a seam will find first."""
    names = ('cv_bridge', 'sensor_msgs_py', 'sensor_msgs_py.point_cloud2', 'tf_transformations')
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    for seam in SEAMS:
        seam.cache_clear()
    yield tmp_path
    for name in names:
        sys.modules.pop(name, None)
    for seam in SEAMS:
        seam.cache_clear()


@pytest.mark.parametrize('kind', BROKEN)
def test_a_broken_library_is_reported_and_not_used(fresh, kind, caplog):
    (fresh / 'cv_bridge.py').write_text(BROKEN[kind])
    (fresh / 'tf_transformations.py').write_text(BROKEN[kind])
    (fresh / 'sensor_msgs_py').mkdir()
    (fresh / 'sensor_msgs_py' / '__init__.py').write_text('')
    (fresh / 'sensor_msgs_py' / 'point_cloud2.py').write_text(BROKEN[kind])
    assert [seam() for seam in SEAMS] == [None, None, None]
    assert [seam() for seam in SEAMS] == [None, None, None]
    assert sum(kind in record.message for record in caplog.records) == 3


def test_a_library_that_kills_the_process_is_not_imported_here(fresh, caplog):
    (fresh / 'cv_bridge.py').write_text('import os, signal; os.kill(os.getpid(), signal.SIGSEGV)')
    assert libraries.cv_bridge() is None
    assert images.image_library() is images.STANDIN
    assert 'exit status -11' in caplog.text


def test_a_library_that_computes_something_else_is_not_used(fresh, caplog):
    (fresh / 'tf_transformations.py').write_text(
        'import numpy\ndef quaternion_matrix(q): return numpy.eye(4)\n'
    )
    assert libraries.tf_transformations() is None
    assert 'wrong results' in caplog.text
