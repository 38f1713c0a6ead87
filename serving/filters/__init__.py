"""Filters as expressions: parsed, checked against the attributes that exist, never executed."""
