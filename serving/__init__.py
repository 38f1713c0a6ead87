"""Serving: BentoML service, HTTP API, recommendation engine, event store, pages."""

from pathlib import Path

PACKAGED = Path(__file__).resolve().parents[1]
"""The project's folder, or the Bento's source folder."""


def N_(text: str) -> str:
    """Return ``text``, marked for the catalogues: it is translated where it is shown."""
    return text
