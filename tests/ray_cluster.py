"""Ray in the tests: `make ray` installs it."""

from __future__ import annotations

import importlib.util

from tests.conftest import absent


def require_ray() -> None:
    """Skip where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        absent("no Ray: make ray")
