"""Our own plugins obey the contract."""

from __future__ import annotations

import pytest

from secateur.plugins import PluginManager
from secateur.testing import Law, contract, laws

RECORDS = ("criteria", "pruners", "regularizers", "graph_builders", "op_rules", "layer_adapters")
OURS = [row.name for row in PluginManager.discover().rows if row.dist.startswith("secateur")]


@contract(*OURS)
def test_contract(law: Law) -> None:
    law()


@pytest.mark.parametrize("plugin", OURS)
def test_what_plugins_add_is_held_to_something(plugin: str) -> None:
    manager = PluginManager.discover()
    (row,) = (row for row in manager.rows if row.name == plugin)
    wanted = {hook.removeprefix("secateur_") for hook in row.hooks} & set(RECORDS)
    assert bool(laws(plugin, manager)) == bool(wanted)
