"""Routes of the operator: timeline, and what is held back.

In: HTTP with the operator key. Out: what happened, from the timeline; holds and releases, by the
commands of the same name in another process, as promotions are.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from components import timeline
from components.data.held_days import load_held_days
from components.evaluation.promotion_hold import read_promotion_hold
from serving.api.pools import OPERATION
from serving.api.routes.commands import REGISTRY_ERRORS, run_command
from serving.api.routing import OPERATOR_ERRORS, auth_of, backend_of
from serving.api.schemas import DaysRequest, HoldRequest, Holds, Job, TimelineResponse

router = APIRouter(tags=["operation"])

LONGEST = 500
"""Entries of one answer."""


@router.get("/operator/timeline", response_model=TimelineResponse, responses=OPERATOR_ERRORS)
async def get_timeline(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LONGEST)] = 50,
    before: Annotated[str | None, Query(max_length=36, pattern=r"^[0-9a-f-]+$")] = None,
) -> TimelineResponse:
    """What happened, newest first, with the evidence; needs the operator key.

    before: the id of an entry, for the ones before it.
    """
    auth_of(request).check_operator(request)
    found = await OPERATION.run(timeline.newest, backend_of(request).root, limit, before)
    return TimelineResponse.model_validate({"entries": [asdict(one) for one in found]})


@router.post(
    "/operator/promotions/hold", response_model=Job, status_code=202, responses=REGISTRY_ERRORS
)
async def hold_promotions(body: HoldRequest, request: Request, response: Response) -> Job:
    """Pause promotions: no training and no refresh changes the champion; needs the operator key."""
    return await run_command(request, response, "hold", "--promotion", f"--reason={body.reason}")


@router.post(
    "/operator/promotions/release", response_model=Job, status_code=202, responses=REGISTRY_ERRORS
)
async def release_promotions(request: Request, response: Response) -> Job:
    """End the pause of promotions; needs the operator key."""
    return await run_command(request, response, "release", "--promotion")


@router.post("/operator/days/hold", response_model=Job, status_code=202, responses=REGISTRY_ERRORS)
async def hold_days(body: DaysRequest, request: Request, response: Response) -> Job:
    """Learn nothing from these days; needs the operator key."""
    days = (str(body.first), str(body.last))
    return await run_command(request, response, "hold", *days, f"--reason={body.reason}")


@router.post(
    "/operator/days/release", response_model=Job, status_code=202, responses=REGISTRY_ERRORS
)
async def release_days(body: DaysRequest, request: Request, response: Response) -> Job:
    """Learn from these days after all; needs the operator key."""
    days = (str(body.first), str(body.last))
    return await run_command(request, response, "release", *days, f"--reason={body.reason}")


def holds(root: Path) -> Holds:
    """Return what is held back below ``root``."""
    promotions = read_promotion_hold(root)
    try:
        held, note = load_held_days(root).ranges(), None
    except ValueError:
        held, note = [], "the record of held days cannot be read: see `bowerbird held`"
    names = ("first", "last", "reason", "by")
    days = [{name: getattr(one, name) for name in names} for one in held]
    shown = promotions and {"since": promotions.since, "reason": promotions.reason}
    return Holds(promotions=shown, days=days, note=note)
