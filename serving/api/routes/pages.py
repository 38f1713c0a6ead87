"""The HTML pages of the shopper and of the operator, and the benchmark's empty route."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from serving.api.routing import Json

WEB = Path(__file__).resolve().parents[2] / "web"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def shopper_page() -> Response:
    return FileResponse(WEB / "index.html")


@router.get("/operator")
async def operator_page() -> Response:
    return FileResponse(WEB / "operator.html")


@router.get("/empty")
async def empty() -> Response:
    """An empty response through the whole HTTP stack, the benchmark's baseline."""
    return Json(b"{}")
