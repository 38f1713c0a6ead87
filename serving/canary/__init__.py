"""Canary of a promoted version: it serves a share of the shoppers until it is judged by itself."""
