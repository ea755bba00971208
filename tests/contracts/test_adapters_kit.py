"""The laws of layer adapters, on layers that the kit's networks do not all suit."""

from __future__ import annotations

from torch import Tensor, nn

from secateur.records import LayerAdapter
from secateur.testing.adapters import attributes_say_what_shapes_are


class Doubled(nn.Linear):
    """It takes integers too, though nothing can then read what it gives."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features)
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.is_floating_point() else x * 2


def test_a_layer_that_takes_integers_and_gives_integers_is_tried_on_others() -> None:
    kind = f"{__name__}.Doubled"
    attributes_say_what_shapes_are(LayerAdapter(name="doubled", types=(kind,), mirrors={"features": "input:-1"}))
