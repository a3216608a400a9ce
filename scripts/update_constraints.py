#!/usr/bin/env python3
"""Write requirements/constraints.txt from what pip resolved for each version of Python.

For each version, in an environment of that version:

    pip freeze --all > 3.11.txt                         # what is installed and was tested, or
    pip install --dry-run --ignore-installed --report 3.12.json -c 3.11.txt \
        -r requirements/base.txt -r requirements/train.txt -r requirements/dev.txt \
        -r requirements/ros.txt

and then `scripts/update_constraints.py 3.11=3.11.txt 3.12=3.12.json ...`, the first being the
version that is developed on.
"""

from __future__ import annotations

import json
from pathlib import Path
import re
import sys

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every package at the version that was tested; written by scripts/update_constraints.py.
# Names without a marker are the same for all versions of Python that need them.
"""
# Torch pins its own GPU libraries, and which it takes depends on the machine.
LEFT_OUT = re.compile(r'^(nvidia-|cuda-|triton$|pip$|recon3d)')


def canonical(name: str) -> str:
    """Return a distribution's name as package indexes compare it."""
    return re.sub(r'[-_.]+', '-', name).lower()


def read_pins(path: Path) -> dict[str, str]:
    """Return `{name: version}` of a pip report or of the output of `pip freeze`."""
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.json':
        metadata = [item['metadata'] for item in json.loads(text)['install']]
        pairs = [(data['name'], data['version']) for data in metadata]
    else:
        # A comment names what is installed from a checkout.
        lines = [line for line in text.splitlines() if not line.startswith('#')]
        pairs = [tuple(line.split('==', 1)) for line in lines if '==' in line]
    # A local version such as +cpu is the machine's choice.
    pins = {canonical(name): version.split('+')[0] for name, version in pairs}
    # The ROS wheels hold packages that no index has: ros-rclpy brings rclpy.
    return {name: version for name, version in pins.items() if f'ros-{name}' not in pins}


def merge(pins: dict[str, dict[str, str]]) -> list[str]:
    """Return the lines of the constraints; a marker where versions of Python differ."""
    lines = []
    for name in sorted({name for table in pins.values() for name in table}):
        if LEFT_OUT.match(name):
            continue
        found = {python: table[name] for python, table in pins.items() if name in table}
        if len(set(found.values())) == 1:
            lines.append(f'{name}=={next(iter(found.values()))}')
            continue
        lines += [
            f"{name}=={version} ; python_version == '{python}'"
            for python, version in sorted(found.items(), key=lambda pair: pair[0].split('.'))
        ]
    return lines


def main() -> None:
    """Read `VERSION=FILE` arguments and write the constraints."""
    pairs = [argument.partition('=')[::2] for argument in sys.argv[1:]]
    if not pairs or not all(Path(file).is_file() for _, file in pairs):
        sys.exit(__doc__)
    lines = merge({python: read_pins(Path(file)) for python, file in pairs})
    target = ROOT / 'requirements' / 'constraints.txt'
    target.write_text(HEADER + '\n'.join(lines) + '\n', encoding='utf-8')
    print(f'{len(lines)} pins in {target.relative_to(ROOT)}')


if __name__ == '__main__':
    main()
