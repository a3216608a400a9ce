"""Image-based 3-D reconstruction of scenes and objects, without ROS."""
