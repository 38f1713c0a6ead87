"""Recommendation requests: engine, business rules, page cache and ranking worker."""
