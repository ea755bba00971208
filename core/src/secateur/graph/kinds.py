"""Names of kinds of operations: torch's function names, and what ONNX, Distiller and torch's modules call them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from secateur.errors import SecateurError, suggestion

CONV: Final = ("conv1d", "conv2d", "conv3d")
CONV_TRANSPOSE: Final = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
MAX_POOL: Final = tuple(f"max_pool{n}d{form}" for n in (1, 2, 3) for form in ("", "_with_indices"))
AVERAGE_POOL: Final = ("avg_pool1d", "avg_pool2d", "avg_pool3d")
ADAPTIVE_POOL: Final = ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")

SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    # ONNX and Distiller
    "Conv": CONV,
    "ConvTranspose": CONV_TRANSPOSE,
    "Gemm": ("linear", "addmm"),
    "MatMul": ("matmul", "linalg_matmul", "bmm", "mm", "mv", "baddbmm"),
    "Einsum": ("einsum",),
    "BatchNormalization": ("batch_norm",),
    "InstanceNormalization": ("instance_norm",),
    "GroupNormalization": ("group_norm",),
    "LayerNormalization": ("layer_norm",),
    "RMSNormalization": ("rms_norm",),
    "Relu": ("relu",),
    "LeakyRelu": ("leaky_relu",),
    "PRelu": ("prelu",),
    "Clip": ("clamp", "clamp_min", "clamp_max", "hardtanh", "relu6"),
    "Tanh": ("tanh",),
    "Sigmoid": ("sigmoid",),
    "Softmax": ("softmax",),
    "LogSoftmax": ("log_softmax",),
    "Add": ("add",),
    "Sub": ("sub",),
    "Mul": ("mul",),
    "Div": ("div",),
    "Concat": ("cat",),
    "Split": ("split", "chunk", "split_with_sizes", "tensor_split"),
    "Slice": ("getitem", "narrow"),
    "Gather": ("gather", "embedding", "index_select"),
    "Pad": ("pad",),
    "Flatten": ("flatten",),
    "Reshape": ("reshape", "view", "unflatten"),
    "Transpose": ("transpose", "permute", "t"),
    "ReduceMean": ("mean",),
    "MaxPool": MAX_POOL,
    "AveragePool": AVERAGE_POOL,
    "GlobalAveragePool": ADAPTIVE_POOL,
    "Dropout": ("dropout", "dropout1d", "dropout2d", "dropout3d"),
    "LSTM": ("lstm", "lstm_cell"),
    "GRU": ("gru", "gru_cell"),
    "RNN": ("rnn_tanh", "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell"),
    "Resize": ("interpolate", "upsample"),
    # torch's modules
    "Linear": ("linear",),
    "Conv1d": ("conv1d",),
    "Conv2d": ("conv2d",),
    "Conv3d": ("conv3d",),
    "ConvTranspose1d": ("conv_transpose1d",),
    "ConvTranspose2d": ("conv_transpose2d",),
    "ConvTranspose3d": ("conv_transpose3d",),
    "BatchNorm1d": ("batch_norm",),
    "BatchNorm2d": ("batch_norm",),
    "BatchNorm3d": ("batch_norm",),
    "LayerNorm": ("layer_norm",),
    "GroupNorm": ("group_norm",),
    "RMSNorm": ("rms_norm",),
    "ReLU": ("relu",),
    "ReLU6": ("relu6", "hardtanh"),
    "GELU": ("gelu",),
    "SiLU": ("silu",),
    "MaxPool2d": ("max_pool2d", "max_pool2d_with_indices"),
    "AvgPool2d": ("avg_pool2d",),
    "AdaptiveAvgPool2d": ("adaptive_avg_pool2d",),
    "Embedding": ("embedding",),
    "MultiheadAttention": ("multi_head_attention_forward",),
}
"""What else kinds are called: {name: the kinds it means}."""

MEANT: Final = frozenset(kind for kinds in SPELLINGS.values() for kind in kinds)


def kinds_named(names: str | Iterable[str], present: Iterable[str]) -> frozenset[str]:
    """The kinds that some names mean; `present`: those of a graph.

    A name that is no kind of the graph, no other spelling and no function of torch is a `SecateurError` with a
    suggestion: a mistyped kind would never be found.

    >>> sorted(kinds_named(("Conv", "relu"), ()))
    ['conv1d', 'conv2d', 'conv3d', 'relu']
    """
    known = frozenset(present)
    found: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        if name in SPELLINGS:
            found.update(SPELLINGS[name])
        elif name in known or name in MEANT or "::" in name or _of_torch(name):
            found.add(name)
        else:
            raise SecateurError(
                f"there is no operation {name!r}", where="kind", hint=suggestion(name, {*known, *SPELLINGS})
            )
    return frozenset(found)


def _of_torch(name: str) -> bool:
    import torch

    return any(hasattr(home, name) for home in (torch.Tensor, torch.nn.functional, torch))
