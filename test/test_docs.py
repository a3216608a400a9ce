"""What the documentation says is so: links, commands, code, options, files and reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
import dataclasses
import json
import os
from pathlib import Path
import re
import runpy
import subprocess
import sys

import markdown_pages as pages
import numpy as np
import pytest
from recon3d_core import config, registry
from recon3d_core.cli.main import available_verbs, make_app
from recon3d_core.data import load_source
from recon3d_core.errors import PluginError
from recon3d_core.scene.options import load_config, PipelineConfig
import typer.main

ROOT = pages.ROOT
README = ROOT / 'README.md'
CONVENTIONS = ROOT / 'docs/conventions.md'
OUTPUTS = ROOT / 'docs/outputs.md'
TROUBLESHOOTING = ROOT / 'docs/troubleshooting.md'
PLUGIN_GUIDE = ROOT / 'docs/adding_a_plugin.md'
CONVENTION_BLOCKS = pages.blocks(CONVENTIONS, 'python')
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '200'}
# A page per test: so that a failure names it.
every_page = pytest.mark.parametrize('page', pages.PAGES, ids=lambda p: str(p.relative_to(ROOT)))


@dataclasses.dataclass
class Command:
    """A command that runs while other tests do; `output` waits for it."""

    process: subprocess.Popen

    @classmethod
    def start(cls, *arguments: str) -> Command:
        pipe = subprocess.PIPE
        return cls(
            subprocess.Popen(
                [sys.executable, '-m', 'recon3d_core', *arguments],
                stdout=pipe,
                stderr=pipe,
                text=True,
                env=ENVIRONMENT,
            )
        )

    def output(self) -> str:
        printed, complaint = self.process.communicate(timeout=100)
        assert self.process.returncode == 0, complaint
        return printed


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Return where the commands write."""
    return tmp_path_factory.mktemp('docs')


@pytest.fixture(scope='module', autouse=True)
def commands(folder) -> Iterator[dict[str, Command]]:
    """Start the commands that the README shows, in a small form, all at once."""
    small = 'frames=6&rate_hz=5&width=320&height=240'
    coarse = ('--set', 'mapper.voxel_size_m=0.04')
    run = ('run', f'synthetic:single_box?{small}', '--out', str(folder / 'out'), *coarse)
    bag = ('play', f'synthetic:single_box?{small}', '--bag', str(folder / 'box.mcap'))
    started = {
        'run': Command.start(*run, '--max-frames', '5'),
        'plugins': Command.start('plugins'),
        'help': Command.start('--help'),
        'bag': Command.start(*bag),
    }
    yield started
    for command in started.values():
        if command.process.poll() is None:
            command.process.kill()
            command.process.communicate()


def execute(block: pages.Block) -> None:
    exec(compile(block.text, block.place, 'exec'), {'__name__': '__docs__'})


@every_page
def test_links_resolve(page):
    for link in pages.links(page):
        if re.match(r'https?://', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f'{link} in {page.name}'
        if anchor:
            assert anchor in pages.anchors(target), f'{link} in {page.name}'


def test_pictures_are_small():
    pictures = sorted((ROOT / 'docs/images').iterdir())
    assert pictures
    for picture in pictures:
        assert picture.suffix == '.png'
        assert picture.stat().st_size < 300_000, picture


@pytest.mark.parametrize('block', CONVENTION_BLOCKS, ids=lambda block: f'line-{block.line}')
def test_convention_holds(block):
    assert re.search(r'^\s*assert |pytest\.raises', block.text, re.MULTILINE), (
        'nothing is asserted'
    )
    execute(block)


def test_every_convention_is_asserted():
    assert set(pages.headings(CONVENTIONS)[1:]) == {block.heading for block in CONVENTION_BLOCKS}


def test_readme_code_finds_objects(capsys):
    for block in pages.blocks(README, 'python'):
        execute(block)
    printed = capsys.readouterr().out.splitlines()
    assert printed
    assert all(line.endswith('True') for line in printed), 'a mesh is open'


@every_page
def test_recon3d_commands_are_understood(page):
    for _, *arguments in pages.commands(page, 'recon3d'):
        verb = arguments[0]
        if verb.startswith('-'):
            continue
        assert verb in available_verbs(), arguments
        if '--help' in arguments or len(arguments) == 1:
            continue
        group = typer.main.get_command(make_app(verb))
        group.commands[verb].make_context(verb, arguments[1:])  # raises where it is wrong
        if verb == 'run':
            check_run_options(page, arguments)


def check_run_options(page: Path, arguments: list[str]) -> None:
    """Check what `run` itself checks first: the configuration and --set."""
    chosen = [arguments[i + 1] for i, word in enumerate(arguments) if word == '--set']
    name = 'tabletop_rgbd'
    if '--config' in arguments:
        name = arguments[arguments.index('--config') + 1]
    plugin = next((c.partition('=')[2] for c in chosen if c.startswith('detector.plugin=')), '')
    if plugin in ('', *registry.BUILTINS['detector']) and name != 'FILE':
        load_config(name, config.parse_assignments(chosen))


@every_page
def test_make_targets_exist(page):
    known = re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    benchmarks = {path.stem for path in (ROOT / 'benchmarks').glob('[a-z]*.py')}
    for _, *words in pages.commands(page, 'make'):
        targets = [word for word in words if '=' not in word]
        assert set(targets) <= set(known), words
        for word in words:
            if word.startswith('BENCH='):
                assert set(word.removeprefix('BENCH=').split()) <= benchmarks, words


@every_page
def test_scripts_and_tests_exist(page):
    for word in ' '.join(pages.code_words(page)).split():
        if re.fullmatch(r'(PYTEST_ARGS=)?(test|benchmarks|scripts|recon3d_\w+)/[\w/]+\.py', word):
            assert (ROOT / word.removeprefix('PYTEST_ARGS=')).is_file(), word


def test_paths_of_the_recipe_exist():
    """In the workspace of the recipe this repository is src/recon3d."""
    text = '\n'.join(block.text for block in pages.blocks(README, 'console'))
    named = re.findall(r'src/recon3d/(\S+)', text)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name


def known_options() -> set[str]:
    known = {info.path for info in config.describe(config.validate(PipelineConfig, {}))}
    for kind in registry.KINDS:
        known.add(f'{kind}.plugin')
        for name in registry.BUILTINS[kind]:
            try:
                options = registry.load(kind, name).Config()
            except PluginError:
                assert kind in ('sink', 'pose_source'), name
                continue
            section = f'sink.{name}' if kind == 'sink' else kind
            known |= {f'{section}.{info.path}' for info in config.describe(options)}
    return known


@pytest.mark.ros
@every_page
def test_options_exist(page):
    known = known_options()
    sections = {path.partition('.')[0] for path in known if '.' in path}
    named = [word for word in pages.code_words(page) if re.match(r'\w+\.\w', word)]
    # Fields of the summary look the same.
    fields = {row[0] for row in pages.tables(OUTPUTS, 'field of an object', 'meaning')}
    named = [word for word in named if word not in fields]
    for word in named:
        path = re.split(r'[=: ]', word)[0]
        if path.partition('.')[0] not in sections or path.endswith(('.py', '.md', '.*')):
            continue
        if path.startswith(('objects/', 'sink.<')):
            continue
        if word.startswith('sink.') and path not in known:
            _, sink, _ = path.split('.', 2)
            assert sink in registry.BUILTINS['sink'], word  # its messages are not installed
            continue
        assert path in known, f'{word} in {page.name}'


@pytest.mark.ros
@every_page
def test_yaml_is_a_configuration(page, tmp_path):
    from recon3d_ros.parameters import NodeParameters

    for block in pages.blocks(page, 'yaml'):
        file = tmp_path / 'example.yaml'
        file.write_text(block.text, encoding='utf-8')
        load_config(str(file))
        given = config.merge(config.read_yaml(file, '/**/recon3d'), config.read_yaml(file))
        given = flatten(given)
        options = NodeParameters.from_values(given).options()
        assert given.items() <= {info.path: info.default for info in options}.items()


def flatten(values: dict, prefix: str = '') -> dict:
    flat = {}
    for key, value in values.items():
        path = f'{prefix}{key}'
        flat.update(flatten(value, f'{path}.') if isinstance(value, dict) else {path: value})
    return flat


def test_help_names_the_verbs(commands):
    printed = commands['help'].output()
    documented = {row[0].split()[1] for row in pages.tables(README, 'command', 'what it does')}
    assert documented <= set(available_verbs())
    for verb in available_verbs():
        assert verb in printed


def test_plugins_are_listed(commands):
    printed = commands['plugins'].output()
    for kind, named in registry.BUILTINS.items():
        for name in named:
            assert re.search(rf'{kind}\W+{name}\b', printed), (kind, name)


def test_a_recorded_bag_is_a_source(commands, folder):
    commands['bag'].output()
    frames = list(load_source(folder / 'box.mcap'))
    assert len(frames) == 6
    assert frames[0].inputs >= {'rgb', 'depth', 'pose'}


@pytest.fixture(scope='module')
def output(commands, folder) -> Path:
    """Return the folder of a short run."""
    commands['run'].output()
    return folder / 'out'


def test_documented_files_are_written(output):
    documented = {row[0] for row in pages.tables(OUTPUTS, 'file', 'content')}
    summary = json.loads((output / 'summary.json').read_text())
    assert summary['objects']
    ids = [str(item['id']) for item in summary['objects']]
    expected = {name.replace('<id>', i) for name in documented for i in ids}
    written = {str(p.relative_to(output)) for p in output.rglob('*') if p.is_file()}
    assert written == expected


def test_documented_fields_are_written(output):
    summary = json.loads((output / 'summary.json').read_text())
    frames = {f'frames.{key}' for key in summary.pop('frames')}
    documented = {row[0] for row in pages.tables(OUTPUTS, 'field', 'meaning')}
    assert documented == set(summary) | frames
    found = summary['objects'][0]
    check = {f'self_check.{key}' for key in found.pop('self_check')}
    documented = {row[0] for row in pages.tables(OUTPUTS, 'field of an object', 'meaning')}
    assert documented == set(found) | check


def test_documented_arrays_are_written(output):
    found = np.load(next((output / 'objects').glob('*.npz')))
    rows = pages.tables(OUTPUTS, 'array', 'type', 'meaning')
    assert {name for name, *_ in rows} == set(found)
    for name, kind, _ in rows:
        assert found[name].dtype.name == kind.split()[0], name


def run_example(name: str, *arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [name, *arguments])
        runpy.run_path(str(ROOT / 'examples' / name), run_name='__main__')


def test_example_reads_the_results(output, capsys):
    run_example('read_results.py', str(output))
    printed = capsys.readouterr().out
    assert re.search(r'mesh [1-9]\d* cm3, voxels [1-9]\d* cm3', printed), printed


def test_example_uses_the_library(capsys):
    run_example('offline.py', 'synthetic:single_box?frames=6&rate_hz=5&width=320&height=240')
    printed = capsys.readouterr().out
    assert 'object 1 appeared' in printed
    assert re.search(r'object 1: .* views, closed', printed), printed


def test_plugin_of_the_guide_finds_an_object(tmp_path, monkeypatch):
    from recon3d_core import Pipeline

    (block,) = pages.blocks(PLUGIN_GUIDE, 'python')
    assert len(block.text.splitlines()) <= 36
    (tmp_path / 'nearby.py').write_text(block.text, encoding='utf-8')
    exported = re.search(r'export (RECON3D_PLUGINS)=(\S+)', PLUGIN_GUIDE.read_text())
    monkeypatch.setenv(exported[1], exported[2])
    monkeypatch.syspath_prepend(str(tmp_path))
    command = next(c for c in pages.commands(PLUGIN_GUIDE, 'recon3d') if c[1] == 'run')
    chosen = [command[i + 1] for i, word in enumerate(command) if word == '--set']
    pipeline = Pipeline.from_config('tabletop_rgbd', config.parse_assignments(chosen))
    for frame in load_source(f'{command[2]}?frames=6&rate_hz=5&width=320&height=240'):
        pipeline.update(frame)
    pipeline.flush()
    assert pipeline.scene().objects


def test_every_folder_is_in_the_architecture():
    named = set()
    for cell, _ in pages.tables(ROOT / 'docs/architecture.md', 'folder', 'what lives there'):
        first, *others = cell.split(', ')  # the others lie beside it
        parent = (ROOT / first).parent
        named |= {ROOT / first, *(parent / other for other in others)}
    assert not [path for path in named if not path.exists()]
    tops = (ROOT / 'recon3d_core', ROOT / 'recon3d_ros')
    folders = {path.parent for top in tops for path in top.glob('*/*.py')}
    assert not folders - named


def test_kinds_of_plugins_are_documented():
    rows = pages.tables(PLUGIN_GUIDE, 'kind', 'base class', 'what it must do')
    assert {row[0] for row in rows} == set(registry.KINDS)
    for _, base, _ in rows:
        module, _, name = base.rpartition('.')
        source = (ROOT / module.replace('.', '/')).with_suffix('.py').read_text()
        assert f'class {name}(' in source, base


def sources() -> dict[Path, str]:
    found = [p for name in ('recon3d_core', 'recon3d_ros') for p in (ROOT / name).rglob('*.py')]
    return {path: path.read_text(encoding='utf-8') for path in sorted(found)}


def test_reasons_of_drops_are_documented():
    documented = {row[0] for row in pages.tables(TROUBLESHOOTING, 'reason', 'cause')}
    text = '\n'.join(sources().values())
    raised = set()
    for source in sources().values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'FrameError':
                raised |= {
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and re.fullmatch(r'[a-z_]+', str(part.value))
                }
    raised.discard('no_')  # the beginning of no_color and no_depth
    assert raised <= documented, raised - documented
    for reason in documented - {'no_color', 'sink_<name>'}:
        assert f"'{reason}'" in text, f'{reason} is documented and never given'


def test_what_the_node_says_is_what_it_says():
    rows = pages.tables(TROUBLESHOOTING, 'the node says', 'cause', 'what to do', raw=True)
    text = '\n'.join(sources().values())
    for said, *_ in rows:
        for phrase in re.findall('`([^`]+)`', said):
            assert phrase in text or phrase == '/tf', f'{phrase!r} is never said'
