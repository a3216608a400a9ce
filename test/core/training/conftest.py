"""What tests of training share."""

from __future__ import annotations

import pytest
import solids


@pytest.fixture
def solid_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the solids and their networks."""
    monkeypatch.setenv('RECON3D_PLUGINS', solids.PLUGINS)
