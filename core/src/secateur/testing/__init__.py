"""The contract kit: laws that every plugin must obey, as plain functions, and random networks to try them on.

A test of a plugin is one decorator; `secateur plugins check NAME` does the same without pytest::

    import secateur.testing

    @secateur.testing.contract("my_thinner")
    def test_contract(law):
        law()

    def test_my_layer():
        secateur.testing.check_layer(lambda: MyLayer(8), (2, 8, 5, 5))
"""

from __future__ import annotations

from secateur.testing.broken import LawBroken as LawBroken
from secateur.testing.broken import NotTried as NotTried
from secateur.testing.contract import Law as Law
from secateur.testing.contract import contract as contract
from secateur.testing.contract import laws as laws
from secateur.testing.exactness import masked_equals_thinned as masked_equals_thinned
from secateur.testing.exactness import plan_is_exact as plan_is_exact
from secateur.testing.exactness import random_plan as random_plan
from secateur.testing.layers import check_layer as check_layer
from secateur.testing.values import randomised as randomised

__all__ = [
    "Law",
    "LawBroken",
    "NotTried",
    "check_layer",
    "contract",
    "laws",
    "masked_equals_thinned",
    "plan_is_exact",
    "random_plan",
    "randomised",
]
