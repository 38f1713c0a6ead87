"""The shop's files → validated, cleaned, coded tables, split by time."""
