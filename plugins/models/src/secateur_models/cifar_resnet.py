"""Deep residual networks for 32x32 images, and the plain networks they are compared with.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015, section 4.2: a 3x3 convolution,
three stages of n blocks of two 3x3 convolutions at widths 16, 32, 64 and sizes 32, 16, 8, average pooling and
a linear layer, 6n + 2 weighted layers in all. As in Distiller, a shortcut whose shape changes is a 1x1
convolution with batch norm (option B of the paper), and every ReLU is a module of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.errors import ConfigError

__all__ = ["CifarBlock", "CifarNet"]

WIDTHS = (16, 32, 64)


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut around them if the network is residual.

    Input (n, inputs, h, w), output (n, outputs, h / stride, w / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.shortcut = shortcut
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.downsample: nn.Sequential | None = None
        if shortcut and (stride != 1 or inputs != outputs):
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + shortcut(x)), or relu(F(x)) in a plain network."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.shortcut:
            out = out + (x if self.downsample is None else self.downsample(x))
        result: Tensor = self.relu2(out)
        return result


class CifarNet(nn.Module):
    """A network of `depth` = 6n + 2 layers for images (n, 3, 32, 32); returns logits (n, num_classes).

    Convolutions start from the normal distribution of He et al., "Delving Deep into Rectifiers", 2015 (fan
    out). Raises `ConfigError` for a depth that is not 6n + 2 or a number of classes below 1.
    """

    def __init__(self, depth: int, *, shortcut: bool = True, num_classes: int = 10) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ConfigError(
                f"a CIFAR network cannot have {depth} layers",
                where="depth",
                hint="use 6n + 2 with n of at least 1: 8, 14, 20, 26, 32, …",
            )
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
            raise ConfigError(
                f"{num_classes!r} is not a number of classes",
                where="num_classes",
                hint="give an integer of at least 1",
            )
        super().__init__()
        self.conv1 = nn.Conv2d(3, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], blocks, 1, shortcut)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], blocks, 2, shortcut)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], blocks, 2, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTHS[2], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, 3, h, w) to logits (n, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def _stage(inputs: int, outputs: int, blocks: int, stride: int, shortcut: bool) -> nn.Sequential:
    """Make one stage: the first block changes width and size, the others keep them."""
    first = CifarBlock(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(CifarBlock(outputs, outputs, 1, shortcut) for _ in range(blocks - 1)))
