"""`factored3d`: a room and its objects, factored, from one image.

After Tulsiani et al., *Factoring Shape, Pose, and Layout from the 2D Image of a 3D Scene* (CVPR
2018): the layout is the inverse depth of the empty room, from an encoder and decoder; each object
is told by its box from coarse features of the whole image, fine ones within the box, and the
box itself, joined into one vector, from which heads tell shape, rotation, scale and place.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from recon3d_core.models.base import Network
from recon3d_core.models.compact import ResidualBlock2d, split_cells
from recon3d_core.models.factored3d.config import Factored3dConfig
from recon3d_core.models.factored3d.frames import BINS
from recon3d_core.models.factored3d.rois import roi_align
import torch
from torch import nn, Tensor
from torch.nn import functional

RESOLUTION = 32
_DEEPEST = 32  # pixels of a cell of the deepest features
_ROI_CELLS = 7
_AROUND = 1.3  # part of the image that the fine features see, in boxes
_SHAPE_CELLS, _SHAPE_CHANNELS = 4, (32, 32, 16)  # of the first grid; of each finer one
_COARSE, _BOX, _FINE, _JOINT = 128, 64, 256, 384
_NEAREST, _FARTHEST = 8.0, 0.08  # 1/m


class Scenery(NamedTuple):
    """What the network says of whole images.

    Attributes:
        layout: (B, h, w) inverse depth of the empty room in 1/m, at a quarter of the resolution.
        up: (B, 3) unit vectors that point up, in the camera's frame.
        coarse: (B, C) features of the images.
        fine: (B, C, h', w') maps of features, the layout among them.
    """

    layout: Tensor
    up: Tensor
    coarse: Tensor
    fine: Tensor


class Factors(NamedTuple):
    """What the network says of N objects, told in the turn that faces the camera (`frames`).

    Attributes:
        shape_logits: (N, 32, 32, 32) inside of the object's box, indexed [x, y, z].
        yaw_logits: (N, 24) bins of the angle about up.
        log_edges: (N, 3) logarithm of the edges, of the box's angular extent at that depth.
        offset: (N, 2) the middle's place in the image from the box's middle, in boxes.
        log_depth: (N,) logarithm of the middle's depth in metres.
        true_logits: (N,) whether there is such an object, and all of it is about right.
    """

    shape_logits: Tensor
    yaw_logits: Tensor
    log_edges: Tensor
    offset: Tensor
    log_depth: Tensor
    true_logits: Tensor


class Factored3d(Network):
    """Images and boxes to a room and its objects."""

    name: ClassVar[str] = 'factored3d'
    Config: ClassVar[type[Factored3dConfig]] = Factored3dConfig

    def __init__(self, config: Factored3dConfig | None = None) -> None:
        """Make the layers."""
        super().__init__(config)
        c = self.config.channels
        widths, blocks = (c, 2 * c, 3 * c, 4 * c), (1, 2, 2, 2)
        self.stem = nn.Sequential(*_convolution(5, c // 2, 5, stride=2))
        stages, inputs = [], c // 2
        for width, count in zip(widths, blocks, strict=True):
            stage = [ResidualBlock2d(inputs, width, 2)]
            stage += [ResidualBlock2d(width, width) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
            inputs = width
        self.stages = nn.ModuleList(stages)
        rows, columns = -(-self.config.height // _DEEPEST), -(-self.config.width // _DEEPEST)
        self.coarse = nn.Sequential(
            nn.Conv2d(widths[3], c, 1),
            nn.Flatten(),
            nn.Linear(c * rows * columns, _COARSE),
            nn.LayerNorm(_COARSE),
            nn.ReLU(inplace=True),
        )
        self.up = nn.Linear(_COARSE, 3)
        self.deepest = nn.Linear(_COARSE, 2 * c)
        self.sides = nn.ModuleList(nn.Conv2d(width, 2 * c, 1) for width in widths[1:])
        self.merged = nn.ModuleList(
            nn.Sequential(*_convolution(2 * c, 2 * c, 3)) for _ in range(2)
        )
        self.near = nn.Conv2d(widths[0] + 2 * c, c, 1)
        self.layout = nn.Sequential(
            *_convolution(c, c, 3), *_convolution(c, c, 3), nn.Conv2d(c, 1, 1)
        )
        self.fine = nn.Sequential(
            *_convolution(2 * c + 1, 2 * c, 3),
            nn.Flatten(),
            nn.Linear(2 * c * _ROI_CELLS**2, _FINE),
            nn.LayerNorm(_FINE),
            nn.ReLU(inplace=True),
        )
        self.box = nn.Sequential(nn.Linear(10, _BOX), nn.ReLU(inplace=True))
        self.joint = nn.Sequential(
            nn.Linear(_COARSE + _FINE + _BOX, _JOINT),
            nn.LayerNorm(_JOINT),
            nn.ReLU(inplace=True),
            nn.Linear(_JOINT, _JOINT),
            nn.ReLU(inplace=True),
        )
        self.pose = nn.Linear(_JOINT, BINS + 3 + 2 + 1 + 1)
        self.code = nn.Linear(_JOINT, self.config.code)
        inner, *others = _SHAPE_CHANNELS
        self.grid = nn.Linear(self.config.code, inner * _SHAPE_CELLS**3)
        layers: list[nn.Module] = []
        for width in others:
            layers += [
                nn.ConvTranspose3d(inner, width, 4, 2, 1, bias=False),
                nn.BatchNorm3d(width),
                nn.ReLU(inplace=True),
            ]
            inner = width
        # Each cell of the last grid tells the eight voxels in it.
        self.decoder = nn.Sequential(*layers, nn.Conv3d(inner, 8, 1))
        for part in (self.stem, self.stages, self.sides, self.merged, self.near, self.layout):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._begin_small()

    def _begin_small(self) -> None:
        """Begin near what is usual: a camera that looks down a little, rooms 1.5 m deep."""
        for layer in (self.up, self.pose, self.layout[-1]):
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.up.bias.copy_(torch.tensor([0.0, -0.8, -0.6]))

    def preprocess(self, images: Tensor, K: Tensor) -> Tensor:
        """Return what the network is shown (B, 5, H, W): colour, and where each pixel looks.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], of the network's size.
            K: (B, 3, 3) intrinsics for them, pixels.
        """
        rows, columns = images.shape[2:]
        x = torch.arange(columns, device=images.device, dtype=images.dtype)
        y = torch.arange(rows, device=images.device, dtype=images.dtype)
        right = (x[None] - K[:, 0, 2, None]) / K[:, 0, 0, None]
        down = (y[None] - K[:, 1, 2, None]) / K[:, 1, 1, None]
        size = (len(images), 1, rows, columns)
        rays = [right[:, None, None].expand(size), down[:, None, :, None].expand(size)]
        return torch.cat([(images - 0.45) / 0.25, *(2 * ray for ray in rays)], 1)

    def see(self, inputs: Tensor) -> Scenery:
        """Return what there is to say of whole images (B, 5, H, W)."""
        rows, columns = inputs.shape[2:]
        padded = functional.pad(inputs, (0, -columns % _DEEPEST, 0, -rows % _DEEPEST))
        features, at = [], self.stem(padded.contiguous(memory_format=torch.channels_last))
        for stage in self.stages:
            at = stage(at)
            features.append(at)
        coarse = self.coarse(features[3])
        fine = self.sides[2](features[3]) + self.deepest(coarse)[:, :, None, None]
        for level in (1, 0):
            up = _doubled(fine)
            fine = self.merged[level](functional.relu(self.sides[level](features[level + 1]) + up))
        near = torch.cat([features[0], _doubled(fine)], 1)
        raw = self.layout(functional.relu(self.near(near)))[:, 0].float()
        layout = raw.clamp(-4, 3).exp() / 1.5
        fine = torch.cat([fine, functional.avg_pool2d(layout[:, None], 2).detach()], 1)
        # What was padded is cut off, so that 1 is the border of the image in all maps.
        layout = layout[:, : rows // 4, : columns // 4]
        fine = fine[..., : rows // 8, : columns // 8]
        return Scenery(layout, functional.normalize(self.up(coarse).float(), dim=1), coarse, fine)

    def tell(self, scenery: Scenery, K: Tensor, boxes: Tensor, image_of: Tensor) -> Factors:
        """Return what there is to say of objects.

        Args:
            scenery: What `see` returned.
            K: (B, 3, 3) intrinsics, pixels.
            boxes: (N, 4) outer edges in pixels.
            image_of: (N,) image of each.
        """
        size = boxes.new_tensor([self.config.width, self.config.height]).repeat(2)
        shares = boxes / size
        middle, side = (shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]
        around = torch.cat([middle - _AROUND / 2 * side, middle + _AROUND / 2 * side], 1)
        fine = self.fine(roi_align(scenery.fine, around, image_of, _ROI_CELLS))
        ground = _ground_log_depth(scenery.layout, shares, image_of)
        numbers = box_numbers(K[image_of], boxes, shares, ground)
        joint = self.joint(torch.cat([scenery.coarse[image_of], fine, self.box(numbers)], 1))
        pose = self.pose(joint).float()
        yaw, edges, offset, depth, true = pose.split([BINS, 3, 2, 1, 1], 1)
        grid = self.grid(self.code(joint)).unflatten(1, (-1, *(_SHAPE_CELLS,) * 3))
        shape = split_cells(self.decoder(functional.relu(grid)))[:, 0]
        return Factors(shape.float(), yaw, edges - 0.5, offset, depth[:, 0] + ground, true[:, 0])

    def forward(
        self, images: Tensor, K: Tensor, boxes: Tensor, image_of: Tensor
    ) -> tuple[Scenery, Factors]:
        """Return the rooms and objects of images (B, 3, H, W) with their boxes."""
        scenery = self.see(self.preprocess(images, K))
        return scenery, self.tell(scenery, K, boxes, image_of)

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts that a recipe can train or freeze by name."""
        backbone = nn.ModuleList([self.stem, self.stages])
        decoder = nn.ModuleList([self.grid, self.decoder])
        return {'all': self, 'backbone': backbone, 'shape': decoder}


def box_rays(K: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the middles of boxes are, and how large they are, as tangents.

    Args:
        K: (N, 3, 3) intrinsics, pixels.
        boxes: (N, 4) outer edges in pixels; pixel centres are at integers.

    Returns:
        (N, 3) rays with z = 1, and (N, 2) width and height.
    """
    focal, center = K[:, [0, 1], [0, 1]], K[:, :2, 2]
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5 - center) / focal
    extent = (boxes[:, 2:] - boxes[:, :2]) / focal
    return torch.cat([middle, torch.ones_like(middle[:, :1])], 1), extent


def log_extent(extent: Tensor) -> Tensor:
    """Return the logarithm (N,) of the mean angular extent of boxes (N, 2)."""
    return extent.clamp(min=1e-4).log().mean(1)


def box_numbers(K: Tensor, boxes: Tensor, shares: Tensor, ground: Tensor) -> Tensor:
    """Return the box features (N, 10): place, extent, share of the image, depth of the ground."""
    rays, extent = box_rays(K, boxes)
    logs = extent.clamp(min=1e-4).log()
    return torch.cat(
        [rays[:, :2], logs / 2 + 0.8, shares, ground[:, None], logs[:, :1] - logs[:, 1:]], 1
    )


def _ground_log_depth(layout: Tensor, shares: Tensor, image_of: Tensor) -> Tensor:
    """Return the logarithm (N,) of the empty room's depth where boxes end below."""
    x = (shares[:, 0] + shares[:, 2]) / 2
    y = shares[:, 1] + 0.9 * (shares[:, 3] - shares[:, 1])
    rows, columns = layout.shape[1:]
    column = (x * columns).long().clamp(0, columns - 1)
    row = (y * rows).long().clamp(0, rows - 1)
    inverse = layout.detach()[image_of, row, column].clamp(_FARTHEST, _NEAREST)
    return -inverse.log()


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2, mode='bilinear', align_corners=False)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
