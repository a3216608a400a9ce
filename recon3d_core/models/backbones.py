"""The first stages of VGG16 and ResNet, with the names that their checkpoints have.

Simonyan and Zisserman 2015, He et al. 2016; the names of the weights are those of torchvision,
which is not needed.
"""

from __future__ import annotations

from torch import nn, Tensor
from torch.nn import functional

_VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512)  # channels, 0 = pooling


def vgg16_bn() -> nn.Sequential:
    """Return VGG16 with batch normalisation up to the activation after conv4_1.

    Images (B, 3, H, W) become (B, 512, H / 8, W / 8).
    """
    layers: list[nn.Module] = []
    inputs = 3
    for width in _VGG16:
        if width == 0:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width)]
        layers.append(nn.ReLU(inplace=True))
        inputs = width
    return nn.Sequential(*layers)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a skip, as in ResNet-18."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, width, H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        inner = self.bn2(self.conv2(inner))
        skip = features if self.downsample is None else self.downsample(features)
        return functional.relu(inner + skip, inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a skip, as in ResNet-50; the 3x3 one has the stride."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """Make the layers."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _projection(inputs, 4 * width, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 4 * width, H / stride, W / stride)."""
        inner = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        inner = functional.relu(self.bn2(self.conv2(inner)), inplace=True)
        inner = self.bn3(self.conv3(inner))
        skip = features if self.downsample is None else self.downsample(features)
        return functional.relu(inner + skip, inplace=True)


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
    )


def resnet(depth: int) -> nn.Sequential:
    """Return the first two stages of ResNet-18 or ResNet-50.

    Images (B, 3, H, W) become (B, 128 or 512, H / 8, W / 8).
    """
    block: type[BasicBlock] | type[Bottleneck] = BasicBlock if depth == 18 else Bottleneck
    counts = {18: (2, 2), 50: (3, 4)}[depth]
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    inputs = 64
    for width, count, stride in zip((64, 128), counts, (1, 2)):
        stage: list[nn.Module] = []
        for index in range(count):
            stage.append(block(inputs, width, 1 if index else stride))
            inputs = width * block.expansion
        layers.append(nn.Sequential(*stage))
    return nn.Sequential(*layers)
