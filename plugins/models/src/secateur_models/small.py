"""Further networks of Distiller's examples by name: SimpleNet for MNIST, MobileNet v1, a word language model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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
            build=simplenet,
            input_shape=(1, 28, 28),
            summary="Two convolutions of 20 and 50 filters, linear layers of 500 and 10, for MNIST.",
            tags=("mnist",),
        ),
        ModelEntry(
            name="mobilenet_v1",
            build=mobilenet,
            input_shape=(3, 224, 224),
            summary="MobileNet v1 for ImageNet: 13 depthwise separable blocks, 28 weighted layers.",
            tags=("imagenet",),
        ),
        ModelEntry(
            name="word_lm",
            build=word_lm,
            input_shape=None,
            inputs=words,
            summary="A word language model: embedding, LSTM (or GRU, RNN), linear; tokens are (time, batch).",
            tags=("language", "recurrent"),
        ),
    ]


def simplenet(**arguments: Any) -> nn.Module:
    """Return a fresh SimpleNet; torch is imported only now."""
    from secateur_models.simplenet import SimpleNet

    return SimpleNet(**arguments)


def mobilenet(**arguments: Any) -> nn.Module:
    """Return a fresh MobileNet v1; torch is imported only now."""
    from secateur_models.mobilenet_v1 import MobileNetV1

    return MobileNetV1(**arguments)


def word_lm(**arguments: Any) -> nn.Module:
    """Return a fresh word language model; torch is imported only now."""
    from secateur_models.language import WordLanguageModel

    return WordLanguageModel(**arguments)


def words(model: nn.Module) -> tuple[Any, ...]:
    """35 words, one after another, and states that a word language model goes on from, as large as it takes them."""
    from secateur_models.language import WordLanguageModel, example

    assert isinstance(model, WordLanguageModel)
    return example(model)
