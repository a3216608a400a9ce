"""Layout, shape, pose, scale and place of objects from one image (Factored3D, Tulsiani et al.)."""
