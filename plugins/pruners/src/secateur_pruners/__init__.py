"""Pruners and criteria."""
