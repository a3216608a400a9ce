"""Parts of the joint refinement: rendering against views, the solver, and who owns a voxel."""
