"""All steps, by the kind of feature they start from."""

from __future__ import annotations

from secateur.testing.networks import attention, maps, odd, tokens, vectors
from secateur.testing.networks.drawing import Step

STEPS: dict[str, list[Step]] = {
    "map": [*maps.STEPS, *odd.MAPS, *odd.MAPS],
    "tokens": [*tokens.STEPS, *attention.STEPS, *odd.TOKENS, *odd.TOKENS],
    "vector": [*vectors.STEPS, *odd.VECTORS, *odd.VECTORS],
}
"""A step that cannot be made from what there is adds nothing."""
