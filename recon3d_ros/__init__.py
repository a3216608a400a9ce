"""The ROS 2 node: messages, parameters, TF and lifecycle around recon3d_core."""
