"""A small convolutional network for handwritten digits, of the shape of LeNet-5's Caffe version.

Two 5x5 convolutions of 20 and 50 filters, each with a ReLU and 2x2 max pooling, and two linear layers: 800 to 500 to
the classes. Names as in Distiller's schedules: conv1, conv2, fc1, fc2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SimpleNet"]


class SimpleNet(nn.Module):
    """Maps images (n, 1, 28, 28) to logits (n, num_classes): 430,500 weights and 2,293,000 MACs with ten classes."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(50 * 4 * 4, 500)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(500, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, 1, 28, 28) to (n, num_classes)."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        logits: Tensor = self.fc2(self.relu3(self.fc1(torch.flatten(x, 1))))
        return logits
