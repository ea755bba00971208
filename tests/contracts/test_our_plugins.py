"""Our own plugins obey the contract."""

from __future__ import annotations

from secateur.testing import Law, contract


@contract("magnitude")
def test_contract(law: Law) -> None:
    law()
