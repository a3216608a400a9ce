#!/usr/bin/env python3
"""Read what `recon3d run` wrote, with numpy and trimesh alone.

examples/read_results.py out/tabletop
"""

from __future__ import annotations

import json
from pathlib import Path
import sys

import numpy as np
import trimesh


def main(folder: Path) -> None:
    """Print pose, size and volume of every object, and check them against each other."""
    summary = json.loads((folder / 'summary.json').read_text(encoding='utf-8'))
    print(f'{summary["frames"]["integrated"]} of {summary["frames"]["read"]} frames integrated')
    for item in summary['objects']:
        mesh = trimesh.load(folder / 'objects' / f'{item["id"]}.ply', force='mesh')
        with np.load(folder / 'objects' / f'{item["id"]}.npz') as data:
            occupancy, T_world_grid = data['occupancy'], data['T_world_grid']
            voxel_size_m = float(data['voxel_size_m'])
        # The centre of voxel (i, j, k) is at (i, j, k) + 0.5 voxels from the grid's corner.
        inside = (np.argwhere(occupancy > 0.5) + 0.5) * voxel_size_m
        inside_world_m = inside @ T_world_grid[:3, :3].T + T_world_grid[:3, 3]
        x, y, z = np.array(item['T_world_object'])[:3, 3]
        print(
            f'{item["id"]:>3} {item["label"]}: at ({x:.3f}, {y:.3f}, {z:.3f}) m, '
            f'mesh {1e6 * abs(mesh.volume):.0f} cm3, '
            f'voxels {1e6 * len(inside) * voxel_size_m**3:.0f} cm3 '
            f'around {np.round(inside_world_m.mean(0), 3).tolist()}'
        )


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
