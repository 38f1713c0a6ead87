"""How much later than its receipt an event may be dated: clocks differ."""

from __future__ import annotations

from datetime import timedelta

CLOCK_SKEW = timedelta(days=1)
"""Of any event, those of the shop and of files included: a day covers a wrong time zone."""

CLIENT_CLOCK_SKEW = timedelta(minutes=5)
"""Of an event without the shop's key, whose sender may date it at will."""
