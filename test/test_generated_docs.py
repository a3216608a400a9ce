"""The generated pages are those that the code would write now."""

from __future__ import annotations

from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.ros
def test_generated_pages_are_fresh() -> None:
    command = [sys.executable, 'scripts/generate_docs.py', '--check']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
