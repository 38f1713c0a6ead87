"""User profiles and histories at request time."""
