"""`recon3d bench` finds, runs and judges the benchmarks of a checkout."""

from __future__ import annotations

import json

import pytest
from recon3d_core.cli import bench
from recon3d_core.errors import InputError, RunError

GOOD = """'''Measures nothing much.'''
import json, sys
json.dump({'arguments': sys.argv[1:]}, open(sys.argv[sys.argv.index('--json') + 1], 'w'))
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    (tmp_path / 'good.py').write_text(GOOD)
    (tmp_path / 'slow.py').write_text('raise SystemExit(1)\n')
    (tmp_path / 'usage.py').write_text('raise SystemExit(2)\n')
    found = {path.stem: path for path in sorted(tmp_path.glob('*.py'))}
    monkeypatch.setattr(bench, 'available', lambda: found)


def test_all_benchmarks_of_the_checkout_are_listed(capsys):
    assert {'fusion', 'mapping'} <= set(bench.available())
    assert not any(name.startswith('_') for name in bench.available())
    bench.command()
    printed = capsys.readouterr().out
    assert 'fusion' in printed
    assert 'what a further view costs' in ' '.join(printed.split())


def test_results_go_where_they_are_wanted(scripts, tmp_path, capsys):
    bench.command(['good'], out=tmp_path / 'a' / 'b', options=['repeats=3', 'part=x,y'])
    result = json.loads((tmp_path / 'a' / 'b' / 'good.json').read_text())
    assert result['arguments'][2:] == ['--repeats', '3', '--part', 'x', 'y']
    assert 'yes' in capsys.readouterr().out


def test_a_missed_bar_fails_after_all_have_run(scripts, tmp_path):
    with pytest.raises(RunError, match='slow'):
        bench.command(['slow', 'good'], out=tmp_path)
    assert (tmp_path / 'good.json').is_file()


def test_all_of_them(scripts, tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(bench.available(), 'usage')
    with pytest.raises(RunError, match='slow'):
        bench.command(run_all=True, out=tmp_path)
    printed = capsys.readouterr().out
    assert '== good\n== slow\n' in printed
    assert (tmp_path / 'good.json').is_file()


def test_bad_usage(scripts, tmp_path):
    with pytest.raises(InputError, match=r"unknown benchmark.*Did you mean 'good'"):
        bench.command(['goood'], out=tmp_path)
    with pytest.raises(InputError, match='NAME=VALUE'):
        bench.command(['good'], out=tmp_path, options=['repeats'])
    with pytest.raises(InputError, match='options of the benchmark usage'):
        bench.command(['usage'], out=tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='--out'):
        bench.command(['good'], out=tmp_path / 'file' / 'x')
