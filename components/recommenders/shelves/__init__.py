"""What a shop's shelves need besides a ranking: pairs, rises, intervals between purchases."""
