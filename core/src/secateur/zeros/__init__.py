"""Thinning from zeros: units that zeroed weights have silenced leave, and the constants they emit are folded away."""
