"""Thinning handlers: op rules, one family per file, and layer adapters beside the rules of their layers."""
