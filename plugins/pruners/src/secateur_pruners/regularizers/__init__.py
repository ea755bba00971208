"""Regularizers: what is added to the loss so that whole structures become small, one module each."""
