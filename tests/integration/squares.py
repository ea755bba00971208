"""A plugin for tests of runs: two tiny networks, and a data set of squares in four colours."""

import torch
from torch import nn

from secateur import hookimpl
from secateur.records import DatasetEntry, DataSplit, ModelEntry


class Residual(nn.Module):
    """Two convolutions around which the stem goes, and dropout."""

    def __init__(self, width, num_classes):
        super().__init__()
        self.stem, self.bn0 = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv1, self.bn1 = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width)
        self.conv2, self.bn2 = nn.Conv2d(2 * width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.drop, self.fc = nn.Dropout(0.2), nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.bn0(self.stem(x)).relu()
        x = (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()
        return self.fc(self.drop(x.mean((2, 3))))


def tiny(width=8, num_classes=4):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes),
    )  # fmt: skip


def residual(width=8, num_classes=4):
    return Residual(width, num_classes)


def load(split, count=40):
    generator = torch.Generator().manual_seed(0 if split == "train" else 1)
    targets = torch.randint(4, (count,), generator=generator)
    colours = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    noise = 0.1 * torch.randn(count, 3, 8, 8, generator=generator)
    return DataSplit(inputs=colours[targets][:, :, None, None] + noise, targets=targets)


@hookimpl
def secateur_models():
    return [
        ModelEntry(name="tiny", build=tiny, input_shape=(3, 8, 8)),
        ModelEntry(name="residual", build=residual, input_shape=(3, 8, 8)),
    ]


@hookimpl
def secateur_datasets():
    return [DatasetEntry(name="squares", load=load, input_shape=(3, 8, 8), classes=4, offline=True)]
