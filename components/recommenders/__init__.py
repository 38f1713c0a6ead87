"""Recommenders: models that score items for a history, and the two-stage hybrid of them."""
