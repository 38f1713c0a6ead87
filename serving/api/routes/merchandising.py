"""Routes of merchandising rules: list, change, delete, preview, audit trail.

In: HTTP with the merchandiser's or the operator's key. Out: rows of the event store, which all
workers read within a second or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import Response

from serving.api.merchandising_schemas import (
    Author,
    EstimateRequest,
    EstimateResponse,
    EstimateRow,
    ExposureResponse,
    ExposureShare,
    Note,
    PreviewRequest,
    PreviewResponse,
    RuleChanges,
    RuleEntry,
    RuleRequest,
    RulesResponse,
)
from serving.api.middleware import Refused
from serving.api.pools import OPERATION, WRITING
from serving.api.routing import OPERATOR_ERRORS, Json, auth_of, backend_of
from serving.api.schemas import ErrorResponse
from serving.backend import Backend
from serving.events import rules_table
from serving.events.rules_table import RuleConflict, StoredRule
from serving.events.tables import SECOND, profile_of
from serving.filters.expression import BUILT_IN, KINDS, Schema
from serving.languages import SOURCE
from serving.merchandising.estimate import RuleEstimator
from serving.merchandising.rulebook import Rulebook, parsed
from serving.merchandising.rules import Rule, RuleId, named, numbers
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper

router = APIRouter(tags=["operation"])
LONGEST = 500
"""Changes of one answer."""
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": ErrorResponse, "description": "the rule is of another version, or is not there"},
    **OPERATOR_ERRORS,
}
RulePath = Annotated[RuleId, PathParameter()]


def entry(stored: StoredRule, schema: Schema) -> RuleEntry:
    """Return a stored change as an answer shows it."""
    rule, problem = None, ""
    if stored.content is not None:
        rule, problem = parsed(stored, schema)
        if rule is None:  # it may still be read: a filter of it names what is gone
            try:
                rule = Rule.model_validate_json(stored.content)
            except ValueError:
                rule = None
    return RuleEntry(
        rule_id=stored.rule_id,
        version=stored.version,
        revision=stored.revision,
        rule=rule,
        problem=problem,
        role=stored.role,
        author=stored.author,
        note=stored.note,
        changed_at=datetime.fromtimestamp(stored.timestamp / SECOND, UTC),
    )


def checked(rule: Rule, backend: Backend, place: str) -> Rule:
    """Return a rule of a request with its items spelled as the catalogue spells them.

    place: of the rule in the request.

    Raises:
        Refused: it names an attribute that does not exist.
    """
    try:
        rule.check(backend.rulebook.schema)
    except ValueError as error:
        message, field = error.args
        raise Refused(422, str(message), f"{place}.{field}") from error
    return rule.model_copy(update={"items": [backend.item_id(one) for one in rule.items]})


def checked_drafts(drafts: Mapping[str, Rule | None], backend: Backend) -> dict[str, Rule | None]:
    """Return the drafts of a request, each ``checked``."""
    return {
        name: rule and checked(rule, backend, f"drafts.{name}") for name, rule in drafts.items()
    }


@router.get("/merchandising/rules", response_model=RulesResponse, responses=OPERATOR_ERRORS)
async def get_rules(request: Request) -> RulesResponse:
    """The merchandising rules, and what they may name; needs the merchandiser or operator key."""
    auth_of(request).check_merchandiser(request)
    backend = backend_of(request)
    schema = backend.rulebook.schema
    stored = await OPERATION.run(rules_table.read_rules, backend.store.database)
    entries = [entry(one, schema) for one in stored]
    entries.sort(key=lambda one: (-(one.rule.priority if one.rule else 0), -one.revision))
    own = [name for name, kind in schema.items if kind in KINDS]
    return RulesResponse(
        rules=entries,
        attributes=[*BUILT_IN, *(name for name in own if name not in BUILT_IN)],
        user_attributes=[f"user.{name}" for name, kind in schema.users if kind in KINDS],
        numbers=numbers(schema),
    )


@router.put("/merchandising/rules/{rule_id}", response_model=RuleEntry, responses=_CONFLICT)
async def put_rule(rule_id: RulePath, body: RuleRequest, request: Request) -> RuleEntry:
    """Make or change a rule: in force here when this arrives, on other workers within seconds."""
    role = auth_of(request).check_merchandiser(request)
    backend = backend_of(request)
    rule = checked(body.rule, backend, "rule")
    content = rule.model_dump_json(exclude_defaults=True)
    return await _changed(request, rule_id, content, role, body.author, body.note, body.version)


@router.delete("/merchandising/rules/{rule_id}", response_model=RuleEntry, responses=_CONFLICT)
async def delete_rule(
    rule_id: RulePath,
    request: Request,
    author: Annotated[Author, Query()] = "",
    note: Annotated[Note, Query()] = "",
    version: Annotated[int | None, Query(ge=1, le=1_000_000_000)] = None,
) -> RuleEntry:
    """Delete a rule; the audit trail keeps it."""
    role = auth_of(request).check_merchandiser(request)
    return await _changed(request, rule_id, None, role, author, note, version)


async def _changed(
    request: Request,
    rule_id: str,
    content: str | None,
    role: str,
    author: str,
    note: str,
    version: int | None,
) -> RuleEntry:
    backend = backend_of(request)

    def change() -> StoredRule:
        try:
            stored = rules_table.put_rule(
                *(backend.store.database, rule_id, content),
                role=role,
                author=author,
                note=note,
                version=version,
            )
        except RuleConflict as error:
            raise Refused(409, str(error)) from error
        backend.rulebook.refresh()
        return stored

    return entry(await WRITING.run(change), backend.rulebook.schema)


@router.get("/merchandising/changes", response_model=RuleChanges, responses=OPERATOR_ERRORS)
async def get_changes(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=LONGEST)] = 50,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    rule_id: RuleId | None = None,
) -> RuleChanges:
    """The audit trail: who changed which rule, when, to what, and why."""
    auth_of(request).check_merchandiser(request)
    backend = backend_of(request)
    found = await OPERATION.run(
        rules_table.rule_changes, backend.store.database, limit, before, rule_id
    )
    return RuleChanges(changes=[entry(one, backend.rulebook.schema) for one in found])


@router.get("/merchandising/exposure", response_model=ExposureResponse, responses=OPERATOR_ERRORS)
async def get_exposure(request: Request) -> ExposureResponse:
    """The measured shares of the exposure rules in force."""
    auth_of(request).check_merchandiser(request)
    found = backend_of(request).exposure.shares()
    return ExposureResponse(shares=[ExposureShare(**vars(one)) for one in found])


@router.post("/merchandising/estimate", response_model=EstimateResponse, responses=OPERATOR_ERRORS)
async def estimate(body: EstimateRequest, request: Request) -> EstimateResponse:
    """What a change of rules costs in NDCG and brings in margin, with intervals; nothing is stored.

    It ranks each shopper and logged list again, so it takes seconds of a processor.
    """
    auth_of(request).check_merchandiser(request)
    backend = backend_of(request)
    loaded = backend.models.current()
    schema, book = backend.rulebook.schema, backend.rulebook.book
    drafts = checked_drafts(body.drafts, backend)
    objective = next(iter(body.objectives), None)
    draft = None if objective is None else drafts[objective]
    attribute = body.attribute or str(draft and draft.by)
    if attribute not in numbers(schema):
        known = ", ".join(numbers(schema))
        raise Refused(422, f"no such number; there are {known}", "attribute")
    estimator = RuleEstimator(
        *(loaded.pipeline, loaded.profiles, backend.store.database, backend.settings, body.lists)
    )
    try:
        estimator.check(body.surface)
    except ValueError as error:
        raise Refused(422, str(error), "surface") from error
    variants: list[tuple[float | None, Rulebook]] = [(0.0, book)]
    if objective is not None and draft is not None:
        for weight in body.weights:
            changed = draft.model_copy(update={"weight": weight})
            variants.append((weight, book.changed({**drafts, objective: changed})))
    if not body.weights:
        variants.append((None, book.changed(drafts)))
    books = [one for _, one in variants]
    backend.live.follow(None)
    found = await OPERATION.run(estimator.compare, books, named(attribute), body.surface, body.k)
    return EstimateResponse(
        attribute=attribute,
        shoppers=found.shoppers,
        lists=found.lists,
        reason=found.reason,
        rows=[
            EstimateRow.model_validate(
                {
                    "weight": weight,
                    "ndcg_change": one.price and vars(one.price),
                    "ndcg": one.ndcg,
                    "shown": one.shown,
                    "value": asdict(one.value),
                    "purchases": asdict(one.purchases),
                }
            )
            for (weight, _), one in zip(variants, found.outcomes, strict=True)
        ],
    )


@router.post("/merchandising/preview", response_model=PreviewResponse, responses=OPERATOR_ERRORS)
async def preview(body: PreviewRequest, request: Request) -> Response:
    """What some shoppers would see before and after a change of rules; nothing is stored."""
    auth = auth_of(request)
    auth.check_merchandiser(request)
    backend = backend_of(request)
    backend.models.current()
    book = backend.rulebook.book
    books = (book, book.changed(checked_drafts(body.drafts, backend)))
    client = auth.caller(request).client

    def lists() -> bytes:
        found = []
        for one in body.shoppers:
            profile = profile_of(one.user_id, one.session_id)
            shopper = Shopper(*(one.user_id, one.session_id, profile, client, False, False, SOURCE))
            asked = RecommendRequest(recent=one.recent, k=body.k)
            show = backend.recommendations.preview
            pair = show(asked, shopper, body.surface, books, body.at)
            found.append(b'{"before":[%b],"after":[%b]}' % (pair[0], pair[1]))
        return b'{"previews":[%b]}' % b",".join(found)

    return Json(await OPERATION.run(lists))
