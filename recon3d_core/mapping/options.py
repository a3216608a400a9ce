"""Options of the maps that are no plugins."""

from __future__ import annotations

from recon3d_core.config import option, Options


class OccupancyGridOptions(Options):
    """The map for navigation."""

    cell_size_m: float = option(0.05, 'Edge of a cell.', unit='m', ge=0.005, le=1.0, live=True)
    min_height_m: float = option(
        0.1,
        'Lowest height above the floor that is an obstacle.',
        unit='m',
        ge=-10.0,
        le=10.0,
        live=True,
    )
    max_height_m: float = option(
        1.8,
        'Highest height above the floor that is an obstacle.',
        unit='m',
        ge=-10.0,
        le=10.0,
        live=True,
    )
