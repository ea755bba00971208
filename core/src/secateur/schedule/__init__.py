"""Schedules: YAML that says which pruner works when, and the object that follows it in a training loop."""
