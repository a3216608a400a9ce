"""OccupancyGrid2D to nav_msgs/OccupancyGrid."""

from __future__ import annotations

import array

from nav_msgs.msg import OccupancyGrid
import numpy as np
from recon3d_core.types import OccupancyGrid2D
from recon3d_ros.conversions.headers import make_header
from recon3d_ros.conversions.transforms import pose_from_matrix


def occupancy_grid_message(grid: OccupancyGrid2D, frame_id: str, stamp_ns: int) -> OccupancyGrid:
    """Return the message of a map.

    The message's data run along x first: cell (x, y) is `data[y * width + x]`.
    """
    message = OccupancyGrid(header=make_header(frame_id, stamp_ns))
    message.info.map_load_time = message.header.stamp
    message.info.resolution = float(grid.cell_size_m)
    message.info.width, message.info.height = grid.cells.shape
    message.info.origin = pose_from_matrix(grid.T_world_grid)
    data = array.array('b')
    data.frombytes(np.ascontiguousarray(grid.cells.T, np.int8).tobytes())
    message.data = data
    return message
