"""Routes of the reports that the pipeline wrote."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from serving.api.middleware import Refused
from serving.api.routing import auth_of, backend_of

router = APIRouter(include_in_schema=False)

_REPORT_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}

_REPORT_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'self' 'unsafe-inline' 'unsafe-eval' "
    "data: blob:; frame-ancestors 'none'"
)


@router.get("/reports/by/{token}/{path:path}")
async def signed_report(token: str, path: str, request: Request) -> Response:
    """A report by a link, which can send no header; its own links lead on the same way."""
    if not auth_of(request).is_report_token(token):
        raise Refused(401, "this link has expired: open the report from the operator's page")
    return report_file(backend_of(request).root, path)


@router.get("/reports/{path:path}")
async def report(path: str, request: Request) -> Response:
    """A report that the pipeline wrote."""
    auth_of(request).check_api(request)
    return report_file(backend_of(request).root, path)


def report_file(root: Path, path: str) -> Response:
    """Return a file below ``reports``; its scripts run in a sandbox, away from this origin."""
    base = (root / "reports").resolve()
    try:
        file = (base / path).resolve()
        is_there = file.is_relative_to(base) and file.is_file()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a circle of links
        is_there = False
    if not is_there or file.suffix not in _REPORT_TYPES:
        raise Refused(404, "no such report")
    return FileResponse(
        file,
        media_type=_REPORT_TYPES[file.suffix],
        headers={"content-security-policy": _REPORT_POLICY},
    )
