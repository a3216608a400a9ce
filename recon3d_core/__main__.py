"""`python -m recon3d_core` is `recon3d`."""

from __future__ import annotations

from recon3d_core.cli.main import main

main()
