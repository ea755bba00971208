"""Random networks: small programs drawn from a seed, that build models and print themselves."""

from __future__ import annotations

from secateur.testing.networks.drawing import random_network as random_network
from secateur.testing.networks.program import Program as Program

__all__ = ["Program", "random_network"]
