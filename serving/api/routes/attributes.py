"""Check the attributes of a request against those that the shop declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.data.attributes import checked, types
from components.settings import AttributeType, Settings
from serving.api.middleware import Refused
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


def check_filters(body: Filtered, settings: Settings) -> None:
    """Raise ``Refused`` if a filter's attribute is not declared or is of another type."""
    if body.attributes:
        try:
            body.check_attributes(types(settings.ingest.items))
        except ValueError as error:
            raise Refused(422, *error.args) from error
