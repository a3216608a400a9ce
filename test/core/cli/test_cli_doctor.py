"""`doctor` and `plugins` on this machine, and on one where things are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import importlib.util
import io
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest
from recon3d_core import registry
from recon3d_core.cli import doctor, plugins
from recon3d_ros import TRANSPORT
from rich.console import Console

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def fresh_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what other tests left in the registry."""
    monkeypatch.delenv('RECON3D_PLUGINS', raising=False)
    registry._table.cache_clear()
    yield
    registry._table.cache_clear()


def only(check: Callable[[], Iterator[doctor.Finding]]) -> doctor.Finding:
    """Return the one finding of a check."""
    [finding] = check()
    return finding


def test_this_machine_has_what_the_tests_need() -> None:
    findings = [*doctor.check_python(), *doctor.check_libraries(), *doctor.check_files()]
    assert [finding for finding in findings if finding.state == 'fatal'] == []
    versions = {finding.name: finding.found for finding in findings}
    import numpy

    assert versions['numpy'] == numpy.__version__


@pytest.mark.parametrize('check', doctor.CHECKS, ids=lambda check: check.__name__)
def test_what_is_not_ok_has_a_remedy(check: Callable[[], Iterator[doctor.Finding]]) -> None:
    for finding in check():
        assert finding.found
        assert '\n' not in finding.found
        assert (finding.state == 'ok') == (not finding.remedy)


@pytest.mark.parametrize(
    ('version', 'state'),
    [((3, 9, 1), 'fatal'), ((3, 13, 0), 'fatal'), ((3, 10, 0), 'ok'), ((3, 12, 9), 'ok')],
)
def test_python(version: tuple[int, ...], state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'version_info', version)
    assert only(doctor.check_python).state == state


def test_missing_library_is_fatal_and_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'LIBRARIES', {'not_there_at_all': 'not-there'})
    finding = only(doctor.check_libraries)
    assert finding.state == 'fatal'
    assert 'ModuleNotFoundError' in finding.found
    assert finding.remedy == "pip install 'not-there'"


def test_library_that_breaks_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'broken_binary.py').write_text('raise OSError("libX.so: cannot\\nopen")')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, 'LIBRARIES', {'broken_binary': 'broken-binary'})
    assert 'OSError: libX.so: cannot open' in only(doctor.check_libraries).found


def test_missing_system_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, 'SYSTEM_LIBRARIES', {'libnothere.so.9': 'libnothere9'})
    finding = only(doctor.check_system_libraries)
    assert finding.state == 'fatal'
    assert 'apt-get install -y libnothere9' in finding.remedy


@pytest.mark.ros
def test_ros_and_its_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('FASTDDS_BUILTIN_TRANSPORTS', TRANSPORT)
    findings = {finding.name: finding for finding in doctor.check_ros()}
    assert findings['rclpy'].state == 'ok'
    assert 'rmw_' in findings['rclpy'].found
    if 'transport' not in findings:
        pytest.skip('this RMW has no such setting')
    assert findings['transport'].state == 'ok'
    monkeypatch.delenv('FASTDDS_BUILTIN_TRANSPORTS')
    findings = {finding.name: finding for finding in doctor.check_ros()}
    assert findings['transport'].state == 'note'
    assert findings['transport'].remedy == f"export FASTDDS_BUILTIN_TRANSPORTS='{TRANSPORT}'"


@pytest.mark.ros
def test_rmw_that_is_not_installed_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RMW_IMPLEMENTATION', 'rmw_nowhere_cpp')
    finding = only(doctor.check_ros)
    assert finding.state == 'fatal'
    assert 'RMW_IMPLEMENTATION' in finding.remedy


def test_without_ros_the_offline_part_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.util, 'find_spec', lambda name: None)
    finding = only(doctor.check_ros)
    assert finding.state == 'note'
    assert 'requirements/ros.txt' in finding.remedy


def test_full_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage('/')._replace(free=2**20)
    monkeypatch.setattr(shutil, 'disk_usage', lambda place: usage)
    finding = only(doctor.check_shared_memory)
    assert finding.state == 'note'
    assert '1 MB free' in finding.found


def test_broken_external_plugin_is_noted_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RECON3D_PLUGINS', 'mesher:broken=not_there:X')
    findings = {finding.name: finding for finding in doctor.check_plugins()}
    assert findings['mesher broken'].state == 'note'
    assert 'RECON3D_PLUGINS' in findings['mesher broken'].remedy


def test_a_library_that_a_plugin_lacks_is_noted_with_its_remedy(monkeypatch, capsys) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *a: None if name == 'onnxruntime' else find(name)
    )
    finding = {finding.name: finding for finding in doctor.check_plugins()}['detector onnx']
    assert finding.state == 'note'
    assert finding.remedy == 'pip install onnxruntime'
    plugins.command('detector')
    said = capsys.readouterr().out
    line = 'cannot load: detector onnx: the library onnxruntime is not installed: pip install onn'
    assert line in said
    assert 'detector depth_cluster' not in said


def test_unreadable_plugin_variable_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RECON3D_PLUGINS', 'nonsense')
    assert only(doctor.check_plugins).state == 'fatal'


def test_table_keeps_brackets_and_remedies_whole() -> None:
    remedy = 'pip install ' + 'x' * 200
    findings = [doctor.Finding('thing', 'fatal', 'got [red] and [1, 2]', remedy)]
    console = Console(file=io.StringIO(), width=80)
    doctor.report(findings, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert 'got [red] and [1, 2]' in text
    assert f'fatal: thing: {remedy}\n' in text


def test_exit_code_follows_what_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    def check(state: str) -> Callable[[], list[doctor.Finding]]:
        return lambda: [doctor.Finding('thing', state, 'found', 'mend it')]  # type: ignore

    monkeypatch.setattr(doctor, 'CHECKS', (check('ok'), check('note')))
    doctor.command()
    monkeypatch.setattr(doctor, 'CHECKS', (check('ok'), check('fatal')))
    with pytest.raises(typer.Exit) as stop:
        doctor.command()
    assert stop.value.exit_code == 1


def test_plugins_lists_every_one_with_needs_and_reasons() -> None:
    command = [sys.executable, '-m', 'recon3d_core', 'plugins']
    environment = {**os.environ, 'RECON3D_PLUGINS': 'mesher:broken=not_there:X', 'COLUMNS': '200'}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    for entry in registry.entries():
        assert entry.name in done.stdout
    assert "cannot load: mesher broken: ModuleNotFoundError: No module named 'not_there'" in (
        done.stdout
    )
    assert 'environment' in done.stdout


def test_needs_are_those_of_the_class() -> None:
    [state] = [s for s in plugins.inspect_all('detector') if s.entry.name == 'depth_cluster']
    assert state.needs == tuple(sorted(registry.load('detector', 'depth_cluster').needs))
    assert 'depth' in state.needs
