"""Check the attributes of a request against those that the shop declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request

from components.data.attributes import checked, types
from components.settings import AttributeType
from serving.api.middleware import Refused
from serving.api.routing import auth_of, backend_of
from serving.recommend.query import Filtered


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


def check_filters(body: Filtered, request: Request) -> None:
    """Raise ``Refused`` if a filter's attribute is not declared, is of another type, or is hidden
    from the caller."""
    if not body.attributes:
        return
    settings = backend_of(request).settings
    declared = types(settings.ingest.items)
    auth = auth_of(request)
    if auth.keys.api is not None and not auth.caller(request).is_shop:
        hidden = settings.serve.hidden_attributes
        declared = {name: kind for name, kind in declared.items() if name not in hidden}
    try:
        body.check_attributes(declared)
    except ValueError as error:
        raise Refused(422, *error.args) from error
