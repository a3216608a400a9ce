"""Silhouettes of a volume of probabilities, and the loss on them (Eq. 8)."""

from __future__ import annotations

from recon3d_core.checks import check_shape
from recon3d_core.errors import InputError
from recon3d_core.losses._inputs import check_choice, check_unit_range, reduced
from recon3d_core.losses.rays import trace
from recon3d_core.losses.volumes import cross_entropy, negative_iou, volumetric_l2
from recon3d_core.models.cameras import ViewCameras
from torch import Tensor

OPERATORS = ('max', 'product')
DISTANCES = {'l2': volumetric_l2, 'iou': negative_iou, 'bce': cross_entropy}


def project_silhouettes(
    probabilities: Tensor,
    cameras: ViewCameras,
    height: int,
    width: int,
    operator: str = 'max',
) -> Tensor:
    """Return the silhouettes (B, V, 1, H, W) of volumes, 0 where a ray misses the cube.

    `max` is the largest probability along the ray, interpolated trilinearly (Yan et al. 2016): its
    outline is that of the isosurface. `product` is the probability that the ray hits, which is
    1 - prod_i (1 - p_i) over one sample a voxel (Tulsiani et al. 2017): gradients go to all voxels
    that a ray passes, and the outline is 0.2 to 0.5 voxels wider, as half full voxels add up along it.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        cameras: (B, V) cameras.
        height: Rows of pixels.
        width: Columns of pixels.
        operator: `max` or `product`.

    Raises:
        InputError: A shape differs, values are not in [0, 1], a camera is not finite, or there is
            no such operator.
    """
    check_choice('operator', operator, OPERATORS)
    if operator == 'product':
        rays = trace(probabilities, cameras, height, width)
        return (1 - rays.log_clear().sum(-1).exp())[:, :, None]
    rays = trace(probabilities, cameras, height, width, 'bilinear')
    return rays.occupancy.amax(-1)[:, :, None]


def silhouette_loss(
    probabilities: Tensor,
    masks: Tensor,
    cameras: ViewCameras,
    distance: str = 'l2',
    operator: str = 'max',
    reduction: str = 'mean',
) -> Tensor:
    """Return the mean distance of projected and true silhouettes over the views (Eq. 8).

    Masks may have any size, since cameras do not depend on it: about two pixels a voxel suffice.

    Args:
        probabilities: (B, N, N, N) occupancy of the cube, indexed [x, y, z].
        masks: (B, V, 1, H, W) coverage by the object in [0, 1].
        cameras: (B, V) cameras.
        distance: `l2`, `iou` (negative IoU) or `bce`.
        operator: How volumes are projected: `max` or `product`.
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
    height, width = masks.shape[-2:]
    found = project_silhouettes(probabilities, cameras, height, width, operator)
    each = DISTANCES[distance](found.flatten(0, 1), masks.flatten(0, 1), 'none')
    return reduced(each.reshape(masks.shape[:2]).mean(1), reduction)
