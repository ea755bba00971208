"""A word language model: embedding, recurrent layers, and a linear layer back to the words.

Zaremba et al., "Recurrent Neural Network Regularization", 2014, for the network (dropout between layers, never within
time); Press & Wolf, "Using the Output Embedding to Improve Language Models", 2017, for tying the two word matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from secateur.errors import ConfigError, suggestion

__all__ = ["WordLanguageModel", "example"]

KINDS: dict[str, tuple[Callable[..., nn.RNNBase], dict[str, Any]]] = {
    "LSTM": (nn.LSTM, {}),
    "GRU": (nn.GRU, {}),
    "RNN_TANH": (nn.RNN, {"nonlinearity": "tanh"}),
    "RNN_RELU": (nn.RNN, {"nonlinearity": "relu"}),
}
Hidden = Tensor | tuple[Tensor, Tensor]


class WordLanguageModel(nn.Module):
    """Predicts the next word at each time: `encoder` (embedding), `rnn`, `decoder` (linear).

    `kind`: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU". `dropout`: of the embedding, between layers and before the decoder.
    `tied`: the decoder's weight is the encoder's; `embedding` and `hidden` must then be equal. Raises `ConfigError`.
    """

    def __init__(
        self,
        vocabulary: int = 33_278,
        embedding: int = 200,
        hidden: int = 200,
        layers: int = 2,
        dropout: float = 0.2,
        tied: bool = False,
        kind: str = "LSTM",
    ) -> None:
        if kind not in KINDS:
            raise ConfigError(f"no recurrent layer named {kind!r}", where="kind", hint=suggestion(kind, KINDS))
        for name, size in {
            "vocabulary": vocabulary,
            "embedding": embedding,
            "hidden": hidden,
            "layers": layers,
        }.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ConfigError(f"{size!r} is no size", where=name, hint="give an integer of at least 1")
        if tied and embedding != hidden:
            raise ConfigError(
                f"words embedded in {embedding} numbers cannot share weights with a hidden state of {hidden}",
                where="tied",
                hint="give embedding and hidden the same size",
            )
        super().__init__()
        make, options = KINDS[kind]
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(vocabulary, embedding)
        self.rnn = make(embedding, hidden, num_layers=layers, dropout=dropout if layers > 1 else 0.0, **options)
        self.decoder = nn.Linear(hidden, vocabulary)
        if tied:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:
        """Tokens (time, batch) to logits (time, batch, vocabulary) and the state after the last time.

        `hidden`: the state before the first time, zeros if None: (layers, batch, hidden), a pair of them for an LSTM.
        """
        out, after = self.rnn(self.drop(self.encoder(tokens)), hidden)
        return self.decoder(self.drop(out)), after


def example(model: WordLanguageModel, time: int = 35, batch: int = 1) -> tuple[Tensor, Hidden]:
    """Inputs for a word language model, which may be thin: random tokens (time, batch) and a state of its size."""
    rnn = model.rnn
    weight = model.encoder.weight
    states = [torch.randn(rnn.num_layers, batch, rnn.hidden_size).to(weight) for _ in "hc"]
    tokens = torch.randint(model.encoder.num_embeddings, (time, batch))
    return tokens, (states[0], states[1]) if isinstance(rnn, nn.LSTM) else states[0]
