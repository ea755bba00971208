"""Configuration files: YAML is read safely, and every error names the file, the line and the key.

`load` reads a file into a tree of `Node`s that know where they stand, `structure` turns such a tree into an
attrs class, and `dump` goes back.
"""

from secateur.config.document import load, loads
from secateur.config.node import Node, plain
from secateur.config.structure import dump, structure

__all__ = ["Node", "dump", "load", "loads", "plain", "structure"]
