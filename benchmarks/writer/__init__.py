"""Sentences of a real language model about products: what is invented, what is dropped."""
