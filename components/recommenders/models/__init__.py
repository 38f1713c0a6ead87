"""Candidate models, one algorithm a module."""
