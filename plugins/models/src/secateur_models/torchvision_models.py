"""Every classification model of torchvision, by its torchvision name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from secateur.errors import ConfigError
from secateur.hookspecs import hookimpl
from secateur.records import ModelEntry

if TYPE_CHECKING:
    from torch import nn

# Written out, so that listing models imports nothing; a test compares it with torchvision's own list.
# fmt: off
NAMES = (
    "alexnet", "convnext_base", "convnext_large", "convnext_small", "convnext_tiny", "densenet121",
    "densenet161", "densenet169", "densenet201", "efficientnet_b0", "efficientnet_b1", "efficientnet_b2",
    "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    "efficientnet_v2_l", "efficientnet_v2_m", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t",
    "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenet_v2", "mobilenet_v3_large",
    "mobilenet_v3_small", "regnet_x_16gf", "regnet_x_1_6gf", "regnet_x_32gf", "regnet_x_3_2gf",
    "regnet_x_400mf", "regnet_x_800mf", "regnet_x_8gf", "regnet_y_128gf", "regnet_y_16gf", "regnet_y_1_6gf",
    "regnet_y_32gf", "regnet_y_3_2gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_8gf", "resnet101",
    "resnet152", "resnet18", "resnet34", "resnet50", "resnext101_32x8d", "resnext101_64x4d",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
    "squeezenet1_0", "squeezenet1_1", "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t",
    "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16",
    "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32", "wide_resnet101_2", "wide_resnet50_2",
)
# fmt: on

# Height and width a model was designed for, where that is not 224.
SIZES = {
    "efficientnet_b1": 240,
    "efficientnet_b2": 288,
    "efficientnet_b3": 300,
    "efficientnet_b4": 380,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
    "efficientnet_v2_s": 384,
    "efficientnet_v2_m": 480,
    "efficientnet_v2_l": 480,
    "inception_v3": 299,
    "swin_v2_b": 256,
    "swin_v2_s": 256,
    "swin_v2_t": 256,
}

# These two warn that the default of `init_weights` will change, unless it is given.
WITH_INIT_WEIGHTS = ("googlenet", "inception_v3")


@hookimpl
def secateur_models() -> Iterable[ModelEntry]:
    """Add torchvision's classification models."""
    for name in NAMES:
        size = SIZES.get(name, 224)
        yield ModelEntry(
            name=name,
            build=partial(build, name),
            input_shape=(3, size, size),
            summary=f"torchvision's {name}, {size}x{size}.",
            tags=("torchvision",),
        )


def build(name: str, **arguments: Any) -> nn.Module:
    """Return torchvision's model `name` with fresh weights; downloads nothing unless `weights` asks for it.

    `arguments` go to torchvision's own function. Raises `ConfigError` for arguments that it refuses and
    `PluginError` if torchvision is missing.
    """
    from secateur_models.torchvision_import import import_torchvision

    torchvision = import_torchvision()
    arguments.setdefault("weights", None)
    if name in WITH_INIT_WEIGHTS and arguments["weights"] is None:
        arguments.setdefault("init_weights", True)
    try:
        model: nn.Module = torchvision.models.get_model(name, **arguments)
    except (TypeError, ValueError, KeyError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in sorted(arguments.items()))
        raise ConfigError(
            f"torchvision refuses to build it with {given} ({type(error).__name__}: {error})",
            where=f"model {name}",
            hint=f"see the arguments of torchvision.models.{name}",
        ) from error
    return model
