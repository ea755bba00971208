"""The CIFAR networks of the residual learning paper, with and without shortcuts, by name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from secateur.hookspecs import hookimpl
from secateur.records import ModelEntry

if TYPE_CHECKING:
    from secateur_models.cifar_resnet import CifarNet

DEPTHS = (20, 32, 44, 56)


@hookimpl
def secateur_models() -> Iterable[ModelEntry]:
    """Add resnet20_cifar … resnet56_cifar and plain20_cifar … plain56_cifar."""
    for depth in DEPTHS:
        yield ModelEntry(
            name=f"resnet{depth}_cifar",
            build=partial(build, depth, True),
            input_shape=(3, 32, 32),
            summary=f"ResNet-{depth} for CIFAR: widths 16, 32, 64, 1x1 projection shortcuts.",
            tags=("cifar", "resnet"),
        )
        yield ModelEntry(
            name=f"plain{depth}_cifar",
            build=partial(build, depth, False),
            input_shape=(3, 32, 32),
            summary=f"Plain {depth}-layer network for CIFAR: the ResNet without its shortcuts.",
            tags=("cifar", "plain"),
        )


def build(depth: int, shortcut: bool, num_classes: int = 10) -> CifarNet:
    """Return a fresh network of `depth` layers; torch is imported only now."""
    from secateur_models.cifar_resnet import CifarNet

    return CifarNet(depth, shortcut=shortcut, num_classes=num_classes)
