"""Spellings: what other tools call a class of ours, and how they write its keys and values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen(kw_only=True)
class Spelling:
    """Another name of a class, under which a schedule written for another tool names it.

    `keys`: {their key: ours}; keys that are not mentioned are ours already. `values`: {our key: {their value: ours}},
    for single values; values that are not mentioned stay. `presets`: {our key: value} that the name itself says.
    `ignored`: {their key: why it means nothing here}; it is accepted. `when`: {their key: the values of it that this
    class serves}: classes may share a spelling's name, and the first whose `when` fits is meant. `required`: their keys
    that must be given, though ours need not be.

    >>> Spelling(name="L1Ranked", keys={"desired_sparsity": "sparsity"}, presets={"criterion": "l1"}).name
    'L1Ranked'
    """

    name: str
    keys: Mapping[str, str] = field(factory=dict)
    values: Mapping[str, Mapping[Any, Any]] = field(factory=dict)
    presets: Mapping[str, Any] = field(factory=dict)
    ignored: Mapping[str, str] = field(factory=dict)
    when: Mapping[str, frozenset[Any]] = field(factory=dict)
    required: tuple[str, ...] = ()
