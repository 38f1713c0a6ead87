"""Search spaces of ``bowerbird tune``: a list of choices, or (kind, low, high), a parameter."""

from __future__ import annotations

INTEGER, LOG_INTEGER, FLOAT, LOG_FLOAT = "int", "log int", "float", "log float"
DECAY = (FLOAT, 0.3, 1.0)
