"""The recorded program of a model: a small frozen IR, and how integers in it came about."""
