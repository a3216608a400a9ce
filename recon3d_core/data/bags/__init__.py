"""Parts of the rosbag2 source: files, topics, poses, and the order of frames."""
