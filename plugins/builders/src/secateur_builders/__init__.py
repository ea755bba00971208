"""Graph builders: ways to record what a model does with its tensors."""
