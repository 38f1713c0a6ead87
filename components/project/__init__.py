"""A shop's folder: its files, its settings, and the code that its stages depend on."""
