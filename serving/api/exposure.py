"""Which requests count: for the running experiment, and as logged impressions."""

from __future__ import annotations

from fastapi import Request

from serving.api.auth import Caller
from serving.api.robots import is_robot
from serving.api.routing import shop_of


def counted(request: Request, caller: Caller) -> bool:
    """Return whether a request may expose its shopper to the running experiment.

    Anybody can invent as many shoppers as an experiment takes to be decided, and robots are none.
    """
    if not shop_of(request).settings.serve.experiment.name:
        return False
    return caller.authentication != "none" and not is_robot(request.headers.get("user-agent"))


def logged(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether what is shown is logged: not to robots, and not above the quotas."""
    shop = shop_of(request)
    agent = request.scope["peer"].headers.get(b"user-agent")
    if agent is not None and is_robot(agent.decode("latin-1")):
        shop.store.drop("robot")
        return False
    if not shop.quotas.allows(caller.authentication, caller.client, profile):
        shop.store.drop("quota")
        return False
    return True
