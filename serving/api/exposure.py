"""Which requests count: for the running experiment, and as logged impressions."""

from __future__ import annotations

from fastapi import Request

from serving.api.auth import Caller
from serving.api.robots import is_robot
from serving.api.routing import shop_of


def counted(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether a request may expose its shopper to the running experiment.

    Not without a key or a session, not a robot, and of one client with sessions only the first
    shoppers of a day: anybody can invent as many as decide an experiment.
    """
    shop = shop_of(request)
    if not shop.settings.serve.experiment.name or caller.authentication == "none":
        return False
    if is_robot(request.headers.get("user-agent")):
        return False
    return caller.is_shop or profile is None or shop.exposure_quotas.allows(caller.client, profile)


def logged(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether what is shown is logged: not to robots, and not above the quotas."""
    shop = shop_of(request)
    agent = request.scope["peer"].headers.get(b"user-agent")
    if agent is not None and is_robot(agent.decode("latin-1")):
        shop.store.count_dropped("robot")
        return False
    if not shop.quotas.allows(caller.authentication, caller.client, profile):
        shop.store.count_dropped("quota")
        return False
    return True
