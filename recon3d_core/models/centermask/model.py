"""`centermask`: a small residual network with a pyramid, and heads for places, spread and seeds.

One set of weights sees colour with or without depth, as depth is left out of half the training
images. Masks are those of Neven et al., "Instance Segmentation by Jointly Optimizing Spatial
Embeddings and Clustering Bandwidth" (CVPR 2019), see `loss.py` and `grouping.py`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from recon3d_core.models.base import Network
from recon3d_core.models.centermask.config import CenterMaskConfig
from recon3d_core.models.centermask.inputs import CHANNELS, network_inputs
from recon3d_core.models.centermask.loss import embedding_loss
from recon3d_core.models.compact import ResidualBlock2d
import torch
from torch import nn, Tensor
from torch.nn import functional

STRIDE = 2
_DEEPEST = 32
# With these a pixel begins as its own place, with a reach of about a tenth of the image.
_REACH = 0.25
_FIRST_SHARPNESS = 4.5
_SHARPNESS_RANGE = (-1.0, 9.0)


class Embedding(NamedTuple):
    """What the network says of each pixel at half the resolution.

    Attributes:
        places: (B, 2, h, w) x and y of the place it belongs to, in heights of the whole image.
        log_sharpness: (B, 1, h, w) logarithm of the sharpness of its object's Gaussian.
        seed_logits: (B, 1, h, w) how good a beginning of an object it is.
    """

    places: Tensor
    log_sharpness: Tensor
    seed_logits: Tensor


class CenterMask(Network):
    """Images to embeddings."""

    name: ClassVar[str] = 'centermask'
    Config: ClassVar[type[CenterMaskConfig]] = CenterMaskConfig

    def __init__(self, config: CenterMaskConfig | None = None) -> None:
        """Make the layers."""
        super().__init__(config)
        c = self.config.channels
        first, widths, blocks = (3 * c) // 5, (c, 2 * c, 3 * c, 4 * c), (2, 2, 2, 2)
        self.stem = nn.Sequential(*_convolution(CHANNELS, first, 3, stride=2))
        stages, inputs = [], first
        for width, count in zip(widths, blocks, strict=True):
            stage = [ResidualBlock2d(inputs, width, 2)]
            stage += [ResidualBlock2d(width, width) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
            inputs = width
        self.stages = nn.ModuleList(stages)
        self.context = nn.Linear(inputs, inputs)
        joint = (first, *widths)
        outputs = (32, c, 3 * c // 2, 3 * c // 2)
        self.sides = nn.ModuleList(
            nn.Conv2d(inner, out, 1) for inner, out in zip(joint, outputs, strict=False)
        )
        self.deeper = nn.ModuleList(
            nn.Conv2d(inner, out, 1)
            for inner, out in zip((*outputs[1:], inputs), outputs, strict=True)
        )
        self.merged = nn.ModuleList(nn.Sequential(*_convolution(out, out, 3)) for out in outputs)
        self.heads = nn.Conv2d(outputs[0], 4, 1)
        nn.init.zeros_(self.heads.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.heads.weight.mul_(0.1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def preprocess(self, images: Tensor, depth_m: Tensor | None = None) -> Tensor:
        """Return what the network is shown (B, 8, H, W), see `network_inputs`.

        Images of another size than the network's are parts of images of its size.
        """
        return network_inputs(images, depth_m, self.config.width)

    def forward(self, inputs: Tensor) -> Embedding:
        """Return the embedding of inputs (B, 8, H, W); H and W are even."""
        rows, columns = inputs.shape[2] // STRIDE, inputs.shape[3] // STRIDE
        # All sizes down to the deepest have to be even.
        padded = functional.pad(
            inputs, (0, -inputs.shape[3] % _DEEPEST, 0, -inputs.shape[2] % _DEEPEST)
        )
        features = [self.stem(padded.contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            features.append(stage(features[-1]))
        deep = features.pop()
        deep = deep + self.context(deep.mean((2, 3)))[:, :, None, None]
        for level in range(len(features) - 1, -1, -1):
            side = self.sides[level](features[level])
            up = functional.interpolate(
                self.deeper[level](deep), side.shape[2:], mode='bilinear', align_corners=False
            )
            deep = self.merged[level](functional.relu(side + up))
        raw = self.heads(deep)[..., :rows, :columns].float()
        low, high = _SHARPNESS_RANGE
        sharpness = (_FIRST_SHARPNESS + 3 * raw[:, 2:3]).clamp(low, high)
        places = _grid(raw, self.config.height / STRIDE) + _REACH * raw[:, :2]
        return Embedding(places, sharpness, raw[:, 3:])

    def loss(self, images: Tensor, depth_m: Tensor, instances: Tensor) -> Tensor:
        """Return the training loss, a scalar.

        Args:
            images: (B, 3, H, W) RGB in [0, 1].
            depth_m: (B, 1, H, W), 0 = invalid.
            instances: (B, H, W) object of each pixel, 0 = background.
        """
        places, sharpness, seeds = self(self.preprocess(images, depth_m))
        return embedding_loss(places, sharpness, seeds, instances[:, ::STRIDE, ::STRIDE])

    def parts(self) -> dict[str, nn.Module]:
        """Return the parts that a recipe can train or freeze by name."""
        return {'all': self, 'backbone': nn.ModuleList([self.stem, self.stages])}


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _grid(like: Tensor, unit: float) -> Tensor:
    """Return the places (1, 2, h, w) of the pixels themselves, in units of so many pixels."""
    height, width = like.shape[2:]
    y = torch.arange(height, device=like.device, dtype=torch.float32) / unit
    x = torch.arange(width, device=like.device, dtype=torch.float32) / unit
    return torch.stack(torch.meshgrid(x, y, indexing='xy'))[None]
