"""A trainer in plain PyTorch, for `secateur run`: a user's own loop needs only the scheduler."""
