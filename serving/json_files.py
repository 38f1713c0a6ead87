"""Small JSON files that other processes write."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger("bentoml.bowerbird")


def read_json(file: Path) -> Any | None:
    """Return the file's content, None where there is no complete JSON in it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("cannot read %s: %s", file.name, type(error).__name__)
        return None
