"""Check the attributes of a request against those that the shop declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from components.data.attributes import checked, types
from components.settings import AttributeType
from serving.api.middleware import Refused
from serving.api.routing import auth_of, backend_of
from serving.events.tables import profile_of
from serving.filters.conditions import both
from serving.filters.expression import Schema, compiled
from serving.filters.syntax import FilterError
from serving.models.loaded import LoadedModel
from serving.recommend.query import Filtered
from serving.recommend.steps import Steps
from serving.recommend.types import Filters


def checked_attributes(
    attributes: Mapping[str, object], declared: Mapping[str, AttributeType], place: str
) -> dict[str, Any]:
    """Return the attributes as they are stored.

    declared: type by name. place: of the attributes' user or item in the request, for the error.

    Raises:
        Refused: a name is not declared, or a value is not of its type.
    """
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        field = f"{place}.attributes.{name}"
        if name not in declared:
            known = ", ".join(declared) or "none"
            raise Refused(422, f"the attribute is not declared; declared are: {known}", field)
        try:
            found[name] = None if value is None else checked(declared[name], value)
        except ValueError as error:
            raise Refused(422, str(error), field) from error
    return found


def check_filters(body: Filtered, request: Request, place: str = "") -> None:
    """Raise ``Refused`` if a filter's attribute is not declared, is of another type, or is hidden
    from the caller, or if the filter expression is none.

    place: what stands before the names of the body's fields in the request.
    """
    check_expression(body.filter, request, place)
    if not body.attributes:
        return
    try:
        body.check_attributes(_declared(request))
    except ValueError as error:
        problem, field = error.args
        raise Refused(422, problem, place + field) from error


def check_expression(text: str | None, request: Request, place: str = "") -> None:
    """Raise ``Refused`` if a filter expression cannot be used, or names what is hidden from the
    caller. place: as of ``check_filters``."""
    if text is None:
        return
    users = types(backend_of(request).settings.ingest.users)
    try:
        compiled(text, Schema.of(_declared(request), users))
    except FilterError as error:
        raise Refused(422, str(error), f"{place}filter") from error


def filters_and_rules(
    body: Filtered, request: Request, loaded: LoadedModel, surface: str
) -> tuple[Filters, Steps]:
    """Return the filters of a request that was checked, with the attributes of its shopper, and
    the merchandising rules of a list that is no impression. What these exclude is in the filters.

    Reads the event store where the request names a shopper.
    """
    backend, auth = backend_of(request), auth_of(request)
    auth.identify(auth.caller(request), body)
    profile = profile_of(body.user_id, body.session_id)
    if profile is not None:
        backend.live.follow(profile)
    service = backend.recommendations
    where = service.condition(body.filter, body.user_id, profile, loaded)
    steps = service.steps(surface, body.user_id, profile, loaded).uncounted
    return body.filters(both(where, steps.excluded)), steps


def _declared(request: Request) -> dict[str, AttributeType]:
    """Return the attributes of products that the caller may filter by: type by name."""
    settings, auth = backend_of(request).settings, auth_of(request)
    declared = types(settings.ingest.items)
    if auth.keys.api is None or auth.caller(request).is_shop:
        return declared
    hidden = settings.serve.hidden_attributes
    return {name: kind for name, kind in declared.items() if name not in hidden}
