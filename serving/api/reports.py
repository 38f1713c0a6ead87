"""Reports of the pipeline, for the operator's page.

In: ``reports`` of the root, as the pipeline wrote them. Out: small JSON.
A file that is missing or half written is treated as missing, so that the page opens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serving.json_files import read_json

VERDICT = (
    *("kind", "drifted", "enough", "score", "threshold", "reasons"),
    *("start", "end", "rows", "outcomes"),
)


def latest_drift(root: Path) -> dict[str, Any] | None:
    """Return the newest drift verdict and its page's path below /reports, None before the first."""
    files = sorted((root / "reports/monitoring").glob("[!.]*/verdict.json"))
    verdict = read_json(files[-1]) if files else None
    if not isinstance(verdict, dict):
        return None
    shown = {name: verdict.get(name) for name in VERDICT}
    return {**shown, "page": f"monitoring/{files[-1].parent.name}/index.html"}


def validation(root: Path) -> dict[str, Any] | None:
    """Return reports/validation.json: rows kept and quarantined of each table, with reasons."""
    found = read_json(root / "reports/validation.json")
    return found if isinstance(found, dict) else None
