"""From one view to a volume along its lines of sight."""

from __future__ import annotations

from recon3d_core.models.cameras import ViewCameras
import torch
from torch import nn, Tensor

HALF_DEPTH = 0.87  # the corner of the cube is 0.866 edges away from its centre
GEOMETRY_CHANNELS = 5


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a normalisation that does not depend on the batch: a stream has one view at a time."""
    return nn.GroupNorm(8 if channels % 8 == 0 else 1, channels)


class Residual(nn.Module):
    """Two 3x3 convolutions and a skip; the first may halve the image."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """Make the block."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            group_norm(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            group_norm(outputs),
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return torch.relu(self.body(image) + self.skip(image))


def sight_geometry(cameras: ViewCameras, size: int) -> Tensor:
    """Return what each pixel's line of sight has to do with the cube.

    Args:
        cameras: (B, V) cameras.
        size: Edge of the images.

    Returns:
        (B, V, 5, size, size): depth at which the line enters and leaves the cube, relative to the
        cube's centre and 0 where it misses it, and the direction of the cube's z axis (up) in the
        camera's frame, the same for all pixels.
    """
    B, V = cameras.K.shape[:2]
    T = cameras.T_camera_cube.double()  # which neither autocast nor TF32 makes coarser
    R, t = T[..., :3, :3], T[..., :3, 3]
    axis = (torch.arange(size, device=R.device, dtype=R.dtype) + 0.5) / size
    v, u = torch.meshgrid(axis, axis, indexing='ij')
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).reshape(-1, 3)
    inverse = torch.linalg.inv(cameras.K.double())
    rays = pixels @ inverse.transpose(-1, -2)  # z = 1: length is depth
    direction = rays @ R  # in the cube's axes
    origin = -(t[..., None, :] @ R)
    safe = torch.where(direction.abs() < 1e-6, torch.full_like(direction, 1e-6), direction)
    low, high = (-0.5 - origin) / safe, (0.5 - origin) / safe
    enter = torch.minimum(low, high).amax(-1)
    leave = torch.maximum(low, high).amin(-1)
    hit = leave > enter
    center = t[..., 2:]
    limits = torch.stack([enter - center, leave - center], 2) * hit[:, :, None]
    up = R[..., 2][..., None].expand(B, V, 3, size * size)
    geometry = torch.cat([limits, up], 2).reshape(B, V, GEOMETRY_CHANNELS, size, size)
    return geometry.to(cameras.K.dtype)


class SightEncoder(nn.Module):
    """A U-Net whose output channels are slices along the line of sight (fruxels).

    Pixels of the output stay aligned with those of the image, so that outlines are exact and the
    network needs no canonical pose. [Knyaz et al. 2018 for the camera-aligned volume.]
    """

    def __init__(self, inputs: int, width: int, context: int, depth_bins: int) -> None:
        """Make the encoder; its output has a quarter of the image's edge."""
        super().__init__()
        w = width
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, w, 5, 2, 2, bias=False), group_norm(w), nn.ReLU(inplace=True)
        )
        widths = (2 * w, 4 * w, 6 * w, 8 * w)
        self.down = nn.ModuleList(Residual(a, b, 2) for a, b in zip((w, *widths[:-1]), widths))
        self.inner = Residual(widths[-1], widths[-1])
        self.up = nn.ModuleList(Residual(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1]))
        self.slices = nn.Conv2d(widths[0], depth_bins * (context + 1), 1)
        self.shape = (context + 1, depth_bins)

    def forward(self, views: Tensor) -> Tensor:
        """Return volumes (B, context + 1, depth_bins, h, w) of views (B, C, 4h, 4w).

        The last channel is the view's own logit of occupancy.
        """
        image = self.stem(views)
        stages = []
        for block in self.down:
            image = block(image)
            stages.append(image)
        image = self.inner(image)
        for block, skip in zip(self.up, stages[-2::-1]):
            image = nn.functional.interpolate(image, size=skip.shape[-2:])
            image = block(torch.cat([image, skip], 1))
        slices = self.slices(image)
        return slices.reshape(len(slices), *self.shape, *slices.shape[-2:])
