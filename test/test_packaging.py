"""The package installs with pip and builds with colcon, and both give what users look for."""

from __future__ import annotations

import ast
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ('recon3d_core', 'recon3d_ros', 'launch', 'config', 'rviz', 'resource')
FILES = ('setup.py', 'setup.cfg', 'pyproject.toml', 'package.xml', 'LICENSE')
MANIFEST = ElementTree.parse(ROOT / 'package.xml').getroot()


def run(command: list[str], cwd: Path, **variables: str) -> str:
    """Run a command and return its output; the ROS wheels' mark is not passed on."""
    environment = {**os.environ, **variables}
    # The wheels restart Python with their libraries on the path, and mark that for children.
    for name in ('_ROS_WHEELS_BOOTSTRAP_COMPLETE', 'PYTHONPATH'):
        environment.pop(name, None)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what is packaged; builds leave files beside their source."""
    target = tmp_path_factory.mktemp('checkout') / 'recon3d'
    target.mkdir()
    unwanted = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for part in PARTS:
        shutil.copytree(ROOT / part, target / part, ignore=unwanted)
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def shared_files() -> list[str]:
    """Return what must be in share/, relative to it."""
    found = [
        path.relative_to(ROOT)
        for folder, pattern in (('launch', '*.py'), ('config', '*.yaml'), ('rviz', '*.rviz'))
        for path in (ROOT / folder).glob(pattern)
    ]
    return ['package.xml', *map(str, found)]


def test_there_is_something_to_share() -> None:
    kinds = {Path(name).suffix for name in shared_files()}
    assert kinds == {'.xml', '.py', '.yaml', '.rviz'}


def test_what_lies_beside_the_code_is_packaged() -> None:
    setup = ast.parse((ROOT / 'setup.py').read_text())
    [given] = [k.value for k in ast.walk(setup) if getattr(k, 'arg', '') == 'package_data']
    patterns = ast.literal_eval(given)['recon3d_core']
    packaged = {path for pattern in patterns for path in (ROOT / 'recon3d_core').glob(pattern)}
    beside = {path for path in (ROOT / 'recon3d_core').rglob('*.*') if path.is_file()}
    missing = {path for path in beside - packaged if path.suffix not in ('.py', '.pyc')}
    assert not missing


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_pip_install_editable(checkout: Path, tmp_path: Path) -> None:
    environment = tmp_path / 'venv'
    venv.create(environment, with_pip=True)
    python = str(environment / 'bin' / 'python')
    # What is installed here already need not be downloaded again.
    [site] = environment.glob('lib/python*/site-packages')
    (site / 'shared.pth').write_text(sysconfig.get_path('purelib') + '\n')
    options = ['--quiet', '--no-index', '--no-deps', '--no-build-isolation', '--editable']
    run([python, '-m', 'pip', 'install', *options, str(checkout)], tmp_path)
    command = str(environment / 'bin' / 'recon3d')
    version = MANIFEST.findtext('version')
    assert run([command, '--version'], tmp_path).strip() == f'recon3d {version}'
    assert os.access(environment / 'bin' / 'recon3d_node', os.X_OK)
    code = 'import recon3d_core as c; print(c.__file__)'
    assert run([python, '-c', code], tmp_path).startswith(str(checkout))


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize('options', [[], ['--symlink-install']], ids=['copy', 'symlink'])
def test_colcon_build(checkout: Path, tmp_path: Path, options: list[str]) -> None:
    pytest.importorskip('colcon_core', reason='colcon is not installed')
    command = [sys.executable, '-m', 'colcon', '--log-base', 'log', 'build', *options]
    run([*command, '--base-paths', str(checkout)], tmp_path)
    prefix = tmp_path / 'install' / 'recon3d_ros'
    for name in ('recon3d_node', 'recon3d'):
        assert os.access(prefix / 'lib' / 'recon3d_ros' / name, os.X_OK), name
    share = prefix / 'share' / 'recon3d_ros'
    for name in shared_files():
        assert (share / name).is_file(), name
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    assert (index / 'recon3d_ros').is_file()
    # As a user would: another folder, the workspace sourced, nothing from the checkout.
    code = (
        'from recon3d_core import config; import recon3d_core, importlib.metadata as m;'
        'print(config.find_config("tabletop_rgbd")); print(m.version("recon3d_ros"))'
    )
    script = f'. {tmp_path}/install/setup.sh && exec "{sys.executable}" -c \'{code}\''
    found, version = run(['sh', '-c', script], Path('/')).splitlines()
    assert version == MANIFEST.findtext('version')
    assert found.endswith('config/tabletop_rgbd.yaml')
    if not options:
        assert found.startswith(str(share))


def keyword_of_setup(name: str) -> ast.expr:
    """Return the value of a keyword of `setup(...)`."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    [call] = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == 'setup']
    return next(keyword.value for keyword in call.keywords if keyword.arg == name)


def test_manifest_and_setup_agree() -> None:
    assert MANIFEST.get('format') == '3'
    assert MANIFEST.findtext('name') == 'recon3d_ros'
    assert MANIFEST.findtext('export/build_type') == 'ament_python'
    assert ast.literal_eval(keyword_of_setup('version')) == MANIFEST.findtext('version')
    assert ast.literal_eval(keyword_of_setup('license')) == MANIFEST.findtext('license')


ROS_PACKAGE = re.compile(
    r'^(rclpy|cv_bridge|message_filters|tf2_\w+|tf_transformations|std_srvs|'
    r'builtin_interfaces|rcl_interfaces|launch\w*|\w+_msgs(_py)?)$'
)
# Python modules whose package has another name.
PACKAGE_OF_MODULE = {'tf2_ros': 'tf2_ros_py'}


def ros_imports() -> set[str]:
    """Return the ROS packages that our code imports, also in functions and by name."""
    found: set[str] = set()
    for folder in ('recon3d_ros', 'launch'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Import):
                    found.update(alias.name.split('.')[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found.add(node.module.split('.')[0])
    return {PACKAGE_OF_MODULE.get(name, name) for name in found if ROS_PACKAGE.match(name)}


def test_the_manifest_names_every_ros_package_that_is_imported() -> None:
    declared = {element.text for element in MANIFEST.findall('exec_depend')}
    assert 'sensor_msgs' in ros_imports()
    assert ros_imports() <= declared


def test_the_manifest_names_no_library_that_ubuntu_has_too_old() -> None:
    declared = {element.text for element in MANIFEST.findall('exec_depend')}
    assert 'python3-numpy' in declared
    assert declared.isdisjoint({'python3-pydantic', 'python3-typer', 'python3-rich'})


def test_pins_cover_what_is_required() -> None:
    def names(text: str) -> set[str]:
        lines = [line.split('#')[0].strip() for line in text.splitlines()]
        return {re.split(r'[=<>\[; ]', line)[0].lower() for line in lines if line}

    requirements = ROOT / 'requirements'
    pinned = names((requirements / 'constraints.txt').read_text())
    for file in ('base.txt', 'ros.txt', 'dev.txt', 'train.txt'):
        assert names((requirements / file).read_text()) <= pinned, file
    required = {
        re.split(r'[<>=]', text)[0].lower()
        for text in ast.literal_eval(keyword_of_setup('install_requires'))
    }
    assert required == names((requirements / 'base.txt').read_text())
    extras = ast.literal_eval(keyword_of_setup('extras_require'))
    train = {re.split(r'[<>=]', text)[0].lower() for text in extras['train']}
    assert train == names((requirements / 'train.txt').read_text())


def test_set_up_again_does_nothing_and_is_quick(tmp_path: Path) -> None:
    """The stamp of a finished set-up is honoured, and one of other requirements is not."""
    for folder in ('scripts', 'requirements'):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    fake = tmp_path / '.venv' / 'bin' / 'python'
    fake.parent.mkdir(parents=True)
    # A Python that notes what it was asked to do stands for the environment.
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    fake.chmod(0o755)
    command = ['bash', str(tmp_path / 'scripts' / 'setup_env.sh')]
    run(command, tmp_path, PYTHON='', RECON3D_VENV='.venv')
    first = (tmp_path / 'calls').read_text()
    assert 'pip' in first
    assert '--editable' in first
    run(command, tmp_path, PYTHON='', RECON3D_VENV='.venv')
    assert (tmp_path / 'calls').read_text() == first, 'nothing was done again'
    with (tmp_path / 'requirements' / 'base.txt').open('a') as file:
        file.write('# changed\n')
    run(command, tmp_path, PYTHON='', RECON3D_VENV='.venv')
    assert (tmp_path / 'calls').read_text() != first, 'other requirements are installed'
