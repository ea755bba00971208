"""Pruning: criteria score units, pruners say how many leave and when, masks hold them at zero meanwhile."""
