"""Who a request is for, in which language, and whether it counts: in the experiment, and as a
logged impression."""

from __future__ import annotations

from fastapi import Request

from serving.api.auth import Caller, Named
from serving.api.robots import is_robot
from serving.api.routing import auth_of, backend_of
from serving.events.tables import profile_of
from serving.languages import AUTO, Language, language, negotiated
from serving.recommend.types import Shopper


def shopper_of(request: Request, body: Named) -> Shopper:
    """Return the shopper that a body names, anonymous where the caller may not speak for them."""
    auth = auth_of(request)
    caller = auth.caller(request)
    auth.identify(caller, body)
    profile = profile_of(body.user_id, body.session_id)
    return Shopper(
        body.user_id,
        body.session_id,
        profile,
        caller.client,
        logged=_is_logged(request, caller, profile),
        in_experiment=_in_experiment(request, caller, profile),
        language=language_of(request).code,
    )


def language_of(request: Request) -> Language:
    """Return ``serve.language``, or the language that the request's Accept-Language likes best."""
    fixed = backend_of(request).settings.serve.language
    if fixed != AUTO:
        return language(fixed)
    header = request.scope["peer"].headers.get(b"accept-language", b"")
    return negotiated(header.decode("latin-1"))


def headers_of(code: str) -> dict[str, str]:
    """Return the headers of an answer whose texts are in a language."""
    return {"content-language": code, "vary": "Accept-Language"}


def _in_experiment(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether a request may expose its shopper to A/B tests, canaries and the holdout.

    Not without a key or a session, not a robot, and of one client with sessions only the first
    shoppers of a day: otherwise one client could invent enough shoppers to decide an experiment.
    """
    backend = backend_of(request)
    if not backend.models.is_randomised or caller.authentication == "none":
        return False
    if is_robot(request.headers.get("user-agent")):
        return False
    if caller.is_shop or profile is None:
        return True
    return backend.exposure_quotas.allows(caller.client, profile)


def _is_logged(request: Request, caller: Caller, profile: str | None) -> bool:
    """Return whether what is shown is logged: not to robots, and not above the quotas."""
    backend = backend_of(request)
    agent = request.scope["peer"].headers.get(b"user-agent")
    if agent is not None and is_robot(agent.decode("latin-1")):
        backend.store.count_dropped("robot")
        return False
    if not backend.impression_quotas.allows(caller.authentication, caller.client, profile):
        backend.store.count_dropped("quota")
        return False
    return True
