"""The states of the random generators of a process: Python's, numpy's, torch's on the CPU and on each CUDA device."""

from __future__ import annotations

import random
from typing import Any

import numpy as np


def random_states() -> dict[str, Any]:
    """All of them, as a tree; those of CUDA if it is in use."""
    import torch

    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
        "numpy": [
            str(kind),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            cached,
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if used else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set them; those of CUDA only where there are as many devices as there were.

    Raises `ValueError`, `TypeError`, `KeyError` or `RuntimeError` for states that are none.
    """
    import torch

    version, numbers, gauss = states["python"]
    kind, keys, position, has_gauss, cached = states["numpy"]
    if not 0 <= int(keys.min()) <= int(keys.max()) < 1 << 32:
        raise ValueError("a state of numpy's generator that is out of range")
    torch.set_rng_state(states["torch"])
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    cuda = states["cuda"]
    if cuda and torch.cuda.is_available() and torch.cuda.device_count() == len(cuda):
        torch.cuda.set_rng_state_all(cuda)
