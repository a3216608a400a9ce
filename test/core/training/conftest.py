"""What tests of training share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import solids
import torch


@pytest.fixture
def solid_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the solids and their networks; train with one thread."""
    monkeypatch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
