"""Silhouettes of a volume of probabilities, and the loss on them (Eq. 8)."""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_choice, check_unit_range, reduced
from recon3d_core.losses.rays import trace
from recon3d_core.losses.volumes import cross_entropy, negative_iou, volumetric_l2
from recon3d_core.models.cameras import ViewCameras
from torch import Tensor

DISTANCES = {'l2': volumetric_l2, 'iou': negative_iou, 'bce': cross_entropy}


def project_silhouettes(
    probabilities: Tensor, cameras: ViewCameras, height: int, width: int
) -> Tensor:
    """Return the silhouettes (B, V, 1, H, W) of volumes: how likely each pixel's ray hits.

    It is 1 - prod_i (1 - p_i) over the samples of the ray, one a voxel (Tulsiani et al. 2017; the
    hard maximum of Yan et al. 2016 is its limit), and 0 where the ray misses the cube. Gradients
    go to every voxel that a ray passes.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        cameras: (B, V) cameras.
        height: Rows of pixels.
        width: Columns of pixels.

    Raises:
        InputError: A shape differs, values are not in [0, 1], or a camera is not finite.
    """
    rays = trace(probabilities, cameras, height, width)
    return (-rays.log_clear().sum(-1).expm1())[:, :, None]


def silhouette_loss(
    probabilities: Tensor,
    masks: Tensor,
    cameras: ViewCameras,
    distance: str = 'l2',
    reduction: str = 'mean',
) -> Tensor:
    """Return the mean distance of projected and true silhouettes over the views (Eq. 8).

    Masks may have any size, since cameras do not depend on it: about two pixels a voxel suffice.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        masks: (B, V, 1, H, W) coverage by the object in [0, 1].
        cameras: (B, V) cameras.
        distance: `l2`, `iou` (negative IoU) or `bce`.
        reduction: `mean` over the objects, or `none`.

    Returns:
        () or (B,).

    Raises:
        InputError: A shape is wrong, there is no view, or values are not in [0, 1].
    """
    check_choice('distance', distance, tuple(DISTANCES))
    check_shape('masks', masks, (probabilities.shape[0], cameras.K.shape[1], 1, 'H', 'W'))
    check_unit_range('masks', masks)
    if not masks.numel():
        raise InputError('masks are empty', tuple(masks.shape), 'at least one pixel of one view')
    found = project_silhouettes(probabilities, cameras, *masks.shape[-2:])
    each = DISTANCES[distance](found.flatten(0, 1), masks.flatten(0, 1), 'none')
    return reduced(each.reshape(masks.shape[:2]).mean(1), reduction)
