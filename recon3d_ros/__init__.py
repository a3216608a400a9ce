"""The ROS 2 node: messages, parameters, TF and lifecycle around recon3d_core."""

import os

TRANSPORT = 'DEFAULT?sockets_size=16MB'

# Fast DDS reads it when rclpy is loaded. With its own buffers of 0.5 MB large images get lost
# between processes; with LARGE_DATA, processes that start together may never find each other.
os.environ.setdefault('FASTDDS_BUILTIN_TRANSPORTS', TRANSPORT)
