#!/usr/bin/env python3
"""Run the benchmarks one after the other, as `make bench` does.

    scripts/run_benchmarks.py [NAME ...]      # such as `mapping node`; all of them without names

Each is a script `benchmarks/NAME.py` that prints its table and takes `--json FILE`. The files go
to out/bench/, and at the end a table says which benchmarks met their bars (exit status 0).
"""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys
import time

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / 'out' / 'bench'


def available() -> dict[str, Path]:
    """Return the benchmarks by name; modules that they share begin with an underscore."""
    scripts = sorted((ROOT / 'benchmarks').glob('[a-z]*.py'))
    return {path.stem: path for path in scripts}


def run(name: str, script: Path) -> tuple[bool, float]:
    """Run one benchmark and return whether it met its bars, and its time in seconds."""
    print(f'== {name}', flush=True)
    start = time.monotonic()
    command = [sys.executable, str(script), '--json', str(FOLDER / f'{name}.json')]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    return status == 0, time.monotonic() - start


def main() -> int:
    """Run what was asked for; return the exit status."""
    known = available()
    wanted = sys.argv[1:] or list(known)
    unknown = sorted(set(wanted) - set(known))
    if unknown or not wanted:
        print(f'error: no benchmark {unknown}, expected of {", ".join(known)}', file=sys.stderr)
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    results = {name: run(name, known[name]) for name in wanted}
    print(f'\n{"benchmark":<16}{"met":<6}{"time":>8}  result')
    for name, (good, seconds) in results.items():
        file = (FOLDER / f'{name}.json').relative_to(ROOT)
        print(f'{name:<16}{"yes" if good else "NO":<6}{seconds:>6.0f} s  {file}')
    return 0 if all(good for good, _ in results.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
