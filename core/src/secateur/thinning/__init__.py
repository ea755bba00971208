"""Plans, and the one place that edits a module: thinning, as a transaction that is verified."""
