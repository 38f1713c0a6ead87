"""The OpenAPI document as a file: python -m serving.api.document FILE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from components.settings import Serve
from serving.api.app import create_app


def document() -> str:
    """Return the document as JSON with sorted keys, so that a change of it is a small difference.

    It is the same for all shops: limits of ``serve`` are not in it.
    """
    found = create_app(Serve()).openapi()
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
