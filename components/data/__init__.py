"""The shop's files → validated, cleaned, coded tables, split by time."""

import os

# Great Expectations reads it when it is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
