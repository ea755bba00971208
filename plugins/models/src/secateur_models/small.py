"""Further networks of Distiller's examples by name: SimpleNet for MNIST, MobileNet v1, a word language model."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.hookspecs import hookimpl
from secateur.records import ModelEntry

if TYPE_CHECKING:
    from torch import nn


@hookimpl
def secateur_models() -> Iterable[ModelEntry]:
    """Add simplenet_mnist, mobilenet_v1 and word_lm."""
    return [
        ModelEntry(
            name="simplenet_mnist",
            build=Fresh("secateur_models.simplenet", "SimpleNet"),
            input_shape=(1, 28, 28),
            summary="Two convolutions of 20 and 50 filters, linear layers of 500 and 10, for MNIST.",
            tags=("mnist",),
        ),
        ModelEntry(
            name="mobilenet_v1",
            build=Fresh("secateur_models.mobilenet_v1", "MobileNetV1"),
            input_shape=(3, 224, 224),
            summary="MobileNet v1 for ImageNet: 13 depthwise separable blocks, 28 weighted layers.",
            tags=("imagenet",),
        ),
        ModelEntry(
            name="word_lm",
            build=Fresh("secateur_models.language", "WordLanguageModel"),
            input_shape=None,
            inputs=words,
            summary="A word language model: embedding, LSTM (or GRU, RNN), linear; tokens are (time, batch).",
            tags=("language", "recurrent"),
        ),
    ]


@frozen
class Fresh:
    """Builds a network of a class by the arguments of the class; its module, and so torch, is imported only then."""

    module: str
    name: str

    def __call__(self, **arguments: Any) -> nn.Module:
        """Return a fresh network."""
        made: nn.Module = self._class()(**arguments)
        return made

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._class())

    def _class(self) -> Any:
        return getattr(importlib.import_module(self.module), self.name)


def words(model: nn.Module) -> tuple[Any, ...]:
    """35 words, one after another, and states that a word language model goes on from, as large as it takes them."""
    from secateur_models.language import WordLanguageModel, example

    assert isinstance(model, WordLanguageModel)
    return example(model)
