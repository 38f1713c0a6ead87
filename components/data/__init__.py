"""From the shop's files to clean, coded, time-split tables."""
