#!/usr/bin/env python3
"""Write the generated pages of docs/ from the code, as `make docs` does.

scripts/generate_docs.py               # writes the pages
scripts/generate_docs.py --check       # writes nothing and fails where one is stale
scripts/generate_docs.py --pictures    # writes docs/images/ too; takes a minute or two
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
import sys
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from recon3d_core import registry  # noqa: E402 - the checkout's, also where none is installed
from recon3d_core.config import describe, OptionInfo, PluginSection, validate  # noqa: E402
from recon3d_core.scene.options import PipelineConfig  # noqa: E402

WRITTEN_BY = '<!-- Written by scripts/generate_docs.py; `make docs` writes it again. -->\n'
INTRODUCTION = """\
# Parameters

Every option, from the models that also check the YAML files, the ROS parameters and `--set`. As a
ROS parameter and after `--set` an option has the name below; in a YAML file the parts between the
dots are sections. *Live* options take effect while the node runs, the others when it is configured.

A section with a `plugin` takes the options of the plugin that it names; those of each plugin stand
further down, and are written after the section's name: `mapper.voxel_size_m`. Those of a `model` or a
`dataset` are given where it is made: by `create_model`, `load_dataset` or a recipe for training.
"""


# Messages that exist only in a ROS installation. The page must not depend on the machine, and of
# these only the names are needed to import the sinks that publish them.
OPTIONAL_MESSAGES = ('moveit_msgs', 'object_recognition_msgs', 'vision_msgs')


class AbsentMessages(MetaPathFinder, Loader):
    """Gives modules of absent messages, with an empty class for every name."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Answer for the optional messages, after the real ones were not found."""
        wanted = name.split('.')[0] in OPTIONAL_MESSAGES
        return ModuleSpec(name, self, is_package=True) if wanted else None

    def exec_module(self, module: ModuleType) -> None:
        """Make the module answer to every name of a message."""

        def answer(name: str) -> type:
            if name.startswith('__'):  # what libraries ask every module for, such as its file
                raise AttributeError(name)
            return type(name, (), {})

        module.__getattr__ = answer  # type: ignore[method-assign]


def cell(text: str) -> str:
    """Return a text that may stand in a cell of a table."""
    return ' '.join(text.split()).replace('|', '\\|')


def value(thing: Any) -> str:
    """Return a default as YAML would have it."""
    if isinstance(thing, bool):
        return str(thing).lower()
    if isinstance(thing, list):
        return '[' + ', '.join(map(str, thing)) + ']'
    return str(thing) if thing != '' else "''"


def accepted(info: OptionInfo) -> str:
    """Return which values an option accepts."""
    choices = info.choices
    if info.path.endswith('.plugin'):  # those of other packages depend on the machine
        choices = tuple(sorted(registry.BUILTINS[info.path.removesuffix('.plugin')]))
    if choices:
        return ', '.join(f'`{choice}`' for choice in choices)
    if info.ge is None and info.le is None:
        return ''
    low, high = ('' if bound is None else f'{bound:g}' for bound in (info.ge, info.le))
    return f'{low} to {high}'


def table(infos: Iterable[OptionInfo]) -> Iterator[str]:
    """Yield the lines of a table of options."""
    yield '| option | default | unit | accepted | live | what it does |'
    yield '|---|---|---|---|---|---|'
    for info in infos:
        yield (
            f'| `{info.path}` | `{value(info.default)}` | {info.unit} | {accepted(info)} '
            f'| {"yes" if info.live else ""} | {cell(info.description)} |'
        )


def plugin_pages(kind: str) -> Iterator[str]:
    """Yield the section of every built-in plugin of a kind that can be loaded."""
    for entry in sorted(registry.entries(kind), key=lambda entry: entry.name):
        if entry.origin != 'built-in':
            continue
        plugin = registry.load(kind, entry.name)
        needs = ', '.join(sorted(getattr(plugin, 'needs', ())))
        yield f'\n### {kind} `{entry.name}`\n'
        summary = (plugin.__doc__ or '').strip().split('\n\n', maxsplit=1)[0]
        yield cell(summary) + (f' Needs {needs}.' if needs else '') + '\n'
        infos = list(describe(plugin.Config()))
        yield from table(infos) if infos else ['It has no options.']


def own_options(options: Any) -> list[OptionInfo]:
    """Return the options of a model without those of its plugins, but with their names."""
    sections = [
        name
        for name in type(options).model_fields
        if isinstance(getattr(options, name), PluginSection)
    ]
    return [
        info
        for info in describe(options)
        if info.path.split('.')[0] not in sections or info.path.endswith('.plugin')
    ]


def parameters_page() -> str:
    """Return docs/parameters.md."""
    from recon3d_ros.parameters import NodeConfig

    sys.meta_path.append(AbsentMessages())
    pipeline, node = validate(PipelineConfig, {}), validate(NodeConfig, {})
    lines = [WRITTEN_BY, INTRODUCTION, '## Pipeline\n', *table(own_options(pipeline))]
    lines += ['\n## Node only\n', *table(own_options(node)), '\n## Plugins']
    for kind in registry.KINDS:
        lines += plugin_pages(kind)
    return '\n'.join(lines) + '\n'


PAGES = {'docs/parameters.md': parameters_page}
PICTURES = {'docs/images/tabletop.png': 'synthetic:tabletop'}  # synthetic ones only
PICTURE_WIDTH_PX = 1000


def draw_pictures() -> None:
    """Reconstruct the scenes of the pictures and keep their previews, small."""
    from PIL import Image
    from recon3d_core.cli.run import run

    for name, source in PICTURES.items():
        out = ROOT / 'out' / 'docs' / Path(name).stem
        run(source, out, 'tabletop_rgbd', {})
        picture = Image.open(out / 'preview.png')
        height = round(picture.height * PICTURE_WIDTH_PX / picture.width)
        small = picture.resize((PICTURE_WIDTH_PX, height), Image.Resampling.LANCZOS)
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        # 256 colours take a quarter of the space, and the eye does not miss the others.
        small.quantize(256, dither=Image.Dither.NONE).save(ROOT / name, optimize=True)
        print(f'wrote {name}')


def main() -> int:
    """Write or check every page; return the exit status."""
    stale = []
    for name, make in PAGES.items():
        text, path = make(), ROOT / name
        if path.is_file() and path.read_text(encoding='utf-8') == text:
            continue
        stale.append(name)
        if '--check' not in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding='utf-8')
            print(f'wrote {name}')
    if stale and '--check' in sys.argv[1:]:
        print(f'error: stale: {", ".join(stale)}. Run `make docs`.', file=sys.stderr)
        return 1
    if '--pictures' in sys.argv[1:]:
        draw_pictures()
    return 0


if __name__ == '__main__':
    sys.exit(main())
