"""Routes of the shop's operator: products, experiments, promotion and rollback.

In: HTTP with keys. Out: changes in the event store's database, or in the registry by its own
command in another process: a worker that answers shoppers never loads MLflow.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from typing import Any

from fastapi import APIRouter, Request

from serving import experiments
from serving.guard import Refused
from serving.reports import read_json
from serving.routes import OPERATOR_ERRORS, auth_of, shop_of
from serving.schemas import (
    ErrorResponse,
    ExperimentsResponse,
    ItemsRequest,
    ItemsResponse,
    PageToken,
    PromoteRequest,
    PromoteResponse,
)
from serving.shop import Shop

logger = logging.getLogger("bentoml.bowerbird")

VERSIONS = "var/serving/versions.json"
REGISTRY_SECONDS = 120
"""How long the registry's command may take."""

_REGISTRY_ERRORS = {
    409: {"model": ErrorResponse, "description": "no such version, or no registry here"},
    **OPERATOR_ERRORS,
}

router = APIRouter(tags=["operation"])


@router.put("/items", response_model=ItemsResponse, responses=OPERATOR_ERRORS)
async def put_items(body: ItemsRequest, request: Request) -> ItemsResponse:
    """Add products or change them: recommendable, searchable and filtered at once."""
    auth_of(request).check_catalogue(request)
    shop = shop_of(request)

    def put() -> ItemsResponse:
        loaded = shop.loaded
        stored: set[str] | None = None
        for at, item in enumerate(body.items):
            if item.title is not None:
                continue
            if loaded is not None and loaded.profiles.code(item.item_id) >= 0:
                continue
            if stored is None:
                stored = {row["item_id"] for row in shop.store.items() if row["title"]}
            if loaded is not None and item.item_id not in stored:
                raise Refused(422, "a new product needs a title", f"items.{at}.title")
        revision = shop.store.put_items([item.model_dump() for item in body.items])
        try:
            shop.look()
        except Exception as error:  # it is kept; the watch tries again and logs what is wrong
            logger.exception("products not taken in: %s", type(error).__name__)
        loaded = shop.loaded
        live = loaded is not None and loaded.revision >= revision
        return ItemsResponse(items=len(body.items), revision=revision, live=live)

    return await asyncio.to_thread(put)


@router.get("/experiments", response_model=ExperimentsResponse, responses=OPERATOR_ERRORS)
async def get_experiments(request: Request) -> ExperimentsResponse:
    """Each experiment's arms, their rates, and whether one is better yet."""
    auth_of(request).check_api(request)
    shop = shop_of(request)
    found = await asyncio.to_thread(experiments.results, shop.store, shop.settings.serve.experiment)
    return ExperimentsResponse(experiments=found)


@router.get("/operator/token", response_model=PageToken, responses=OPERATOR_ERRORS)
async def page_token(request: Request) -> PageToken:
    """What the operator's page sends as X-CSRF-Token with each change, where no key is set."""
    return PageToken(token=auth_of(request).page_token())


@router.post("/operator/promote", response_model=PromoteResponse, responses=_REGISTRY_ERRORS)
async def promote(body: PromoteRequest, request: Request) -> PromoteResponse:
    """Make a registered version the champion; needs the operator key."""
    auth_of(request).check_operator(request)
    return await _registry(shop_of(request), "promote", body.version)


@router.post("/operator/rollback", response_model=PromoteResponse, responses=_REGISTRY_ERRORS)
async def rollback(request: Request) -> PromoteResponse:
    """Go back to the champion before; needs the operator key."""
    auth_of(request).check_operator(request)
    return await _registry(shop_of(request), "rollback")


async def _registry(shop: Shop, *command: str) -> PromoteResponse:
    if importlib.util.find_spec("bowerbird") is None or not (shop.root / VERSIONS).exists():
        raise Refused(409, "there is no registry here: deploy the image of the wanted version")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bowerbird", *command),
        cwd=shop.root,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(), REGISTRY_SECONDS)
    except TimeoutError as error:
        process.kill()
        raise Refused(503, "the registry did not answer", retry_after=30) from error
    if process.returncode:
        lines = [line for line in errors.decode(errors="replace").splitlines() if line]
        said = next((line for line in reversed(lines) if line.startswith("error: ")), None)
        logger.error("bowerbird %s failed with %s", command[0], process.returncode)
        raise Refused(
            409, said.removeprefix("error: ") if said else "the registry refused: see log"
        )
    await asyncio.to_thread(shop.look)
    return PromoteResponse(version=shop.current().version)


def versions(shop: Shop) -> list[dict[str, Any]]:
    """Return the registered versions as the registry last wrote them down, newest first."""
    found = read_json(shop.root / VERSIONS)
    return found if isinstance(found, list) else []
