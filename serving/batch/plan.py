"""Which lists `bowerbird recommend-all` makes.

In: the command's options. Out: a ``Plan``, with a request that is checked as ``POST /recommend``
checks it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic import ValidationError

from components.data.attributes import types
from components.settings import Settings
from serving.batch.customers import Segment
from serving.languages import AUTO, SOURCE, languages
from serving.recommend.query import RecommendRequest

OF_CUSTOMER = ("user_id", "session_id", "recent", "page", "page_items", "cursor")
"""Fields of ``POST /recommend`` that belong to one shopper, or to a page."""


@dataclass(frozen=True)
class Plan:
    """Which lists are made.

    request: what ``POST /recommend`` would be sent for each customer. language: of the reasons.
    logged: the lists will be shown, so they are logged as impressions, and the holdout gets popular
    products.
    """

    request: RecommendRequest
    segment: Segment
    language: str = SOURCE
    logged: bool = True


def plan_of(
    settings: Settings,
    k: int,
    request: str,
    segment: Segment,
    code: str | None = None,
    logged: bool = True,
) -> Plan:
    """Return the plan of the command's options.

    request: further fields of ``POST /recommend``, as a JSON object. code: of the language; None:
    ``serve.language``, English where it is "auto".

    Raises:
        ValueError: a field is wrong, or there is no such language.
    """
    try:
        fields = json.loads(request)
    except ValueError as error:
        raise ValueError(f"--request is no JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError("--request must be a JSON object, such as '{\"max_price\": 20}'")
    if theirs := [name for name in (*OF_CUSTOMER, "k") if name in fields]:
        raise ValueError(f"--request has {theirs[0]}: the lists are for all customers, -k sets k")
    try:
        body = RecommendRequest(**fields, k=k)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ValueError(f"--request: {'; '.join(wrong)}") from error
    if k > settings.serve.max_k:
        raise ValueError(f"-k {k}: serve.max_k is {settings.serve.max_k}")
    try:
        body.check_attributes(types(settings.ingest.items))
        body.check_surface(settings.serve.surfaces)
    except ValueError as error:
        sentence, place = error.args
        raise ValueError(f"--request: {place}: {sentence}") from error
    fixed = settings.serve.language
    code = code or (SOURCE if fixed == AUTO else fixed)
    if code not in languages():
        known = ", ".join(sorted(languages()))
        raise ValueError(f"--language: no catalogue of {code!r}; choose one of {known}")
    return Plan(body, segment, code, logged)
