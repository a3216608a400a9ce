"""Figures of `confidence`, written by `benchmarks/self_check.py --fit`; not to be edited."""

FEATURES = (
    'one',
    'silhouette_iou',
    'depth_residual',
    'free_share',
    'seen_fraction',
    'views',
    'flatness',
    'distance',
)
WEIGHTS = (-4.0, 6.0, -0.5, -4.0, 1.0, 0.5, 0.0, -0.3)
LEARNED = ('point_completion', 'tsdf_completion')
MEAN = (0.5, 0.4, 0.4, 0.3, 0.1, 0.4)
PRECISION = (
    (50.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 50.0, 0.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 50.0, 0.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 50.0, 0.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 500.0, 0.0),
    (0.0, 0.0, 0.0, 0.0, 0.0, 50.0),
)
