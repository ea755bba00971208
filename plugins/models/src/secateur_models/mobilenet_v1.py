"""MobileNet, first version: a convolution and thirteen depthwise separable blocks.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, table 1:
28 weighted layers. A block is one `Sequential`: depthwise 3x3 convolution (0), batch norm, ReLU, pointwise 1x1
convolution (3), batch norm, ReLU. Blocks are model.1 … model.13; model.0 is the full convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from secateur.errors import ConfigError

__all__ = ["MobileNetV1"]

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Output channels and stride of each block, at width 1."""


class MobileNetV1(nn.Module):
    """Maps images (n, 3, h, w) to logits (n, num_classes); made for 224x224.

    At width 1 with 1000 classes: 4,209,088 weights and, at 224x224, 568,740,352 MACs. `width` multiplies all channel
    counts (the paper's alpha). Raises `ConfigError` for a width that leaves no channel.
    """

    def __init__(self, num_classes: int = 1000, width: float = 1.0) -> None:
        if not width > 0 or int(32 * width) < 1:
            raise ConfigError(
                f"a width of {width} leaves no channels", where="width", hint="give 1 for the network of the paper"
            )
        super().__init__()
        channels = int(32 * width)
        stages = [_convolution(3, channels, 3, 2)]
        for outputs, stride in BLOCKS:
            inputs, channels = channels, int(outputs * width)
            depthwise = _convolution(inputs, inputs, 3, stride, groups=inputs)
            stages.append(nn.Sequential(*depthwise, *_convolution(inputs, channels, 1, 1)))
        self.model = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, 3, h, w) to (n, num_classes)."""
        logits: Tensor = self.fc(torch.flatten(self.avgpool(self.model(x)), 1))
        return logits


def _convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
