"""The law on random networks: whatever they do, what leaves, leaves exactly."""

from __future__ import annotations

from typing import Any

import pytest

SEEDS = 60


@pytest.mark.parametrize("seed", [*range(SEEDS), 10030])  # the last: units of two dims hold all filters of a layer
def test_masked_and_thinned_agree(law: Any, networks: Any, seed: int) -> None:
    network = networks.RandomNetwork(seed)
    law.randomised(network, seed)
    inputs = network.example()
    try:
        law.exact(network, law.plan(network, inputs), inputs)
        law.exact(network, law.random_plan(network, inputs, seed), inputs)
    except BaseException as error:
        error.add_note("\n".join([f"seed {seed}", *network.lines]))
        raise


def test_most_of_them_can_be_pruned(law: Any, networks: Any) -> None:
    pruned = 0
    for seed in range(20):
        network = networks.RandomNetwork(seed).double()
        pruned += bool(law.plan(network, network.example()).cuts)
    assert pruned >= 19
