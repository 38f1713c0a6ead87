"""Needs in shoppers' words, with what a sensible answer is, and what systems make of them."""
