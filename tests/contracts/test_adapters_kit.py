"""The laws of layer adapters, on layers that the kit's networks do not all suit."""

from __future__ import annotations

import sys

from torch import Tensor, nn

from secateur.hookspecs import hookimpl
from secateur.plugins import PluginManager, using
from secateur.records import LayerAdapter
from secateur.testing.adapters import attributes_say_what_shapes_are


class Doubled(nn.Module):
    """It takes integers too, though nothing can then read what it gives."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    return [LayerAdapter(name="doubled", types=(f"{__name__}.Doubled",), mirrors={"features": "input:-1"})]


def test_a_layer_that_takes_integers_and_gives_integers_is_tried_on_others() -> None:
    with using(PluginManager.discover()) as manager:
        manager.register(sys.modules[__name__], "doubles")
        attributes_say_what_shapes_are(manager.adapters[f"{__name__}.Doubled"])
