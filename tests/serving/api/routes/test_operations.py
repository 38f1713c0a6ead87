"""The operator's timeline and holds over HTTP; the commands themselves run in ``test_web``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.data.held_days import hold_days
from components.evaluation.promotion_hold import hold_promotions
from serving.api.routes.operations import holds

Client = httpx.Client
DAYS = {"first": "2026-03-01", "last": "2026-03-02"}
CHANGES = {
    "/operator/promotions/hold": {"reason": "the sale"},
    "/operator/promotions/release": {},
    "/operator/days/hold": DAYS,
    "/operator/days/release": DAYS,
}


@pytest.fixture
def page(served: Client) -> dict[str, str]:
    """The header that the operator's page sends where no key is set."""
    return {"x-csrf-token": served.get("/operator/token").json()["token"]}


def test_the_timeline_is_the_operators(served: Client, page: dict[str, str]) -> None:
    assert served.get("/operator/timeline").status_code == 403
    assert served.get("/operator/timeline", headers=page).json() == {"entries": []}
    for wrong in ("limit=0", "limit=501", "before=%2e%2e%2f"):
        answer = served.get(f"/operator/timeline?{wrong}", headers=page)
        assert answer.status_code == 422, wrong


@pytest.mark.parametrize("path", CHANGES)
def test_a_change_needs_the_operator_json_and_a_registry(
    served: Client, page: dict[str, str], path: str
) -> None:
    body = CHANGES[path]
    assert served.post(path, json=body).status_code == 403
    assert served.post(path, data=body, headers=page).status_code in (415, 422)
    refused = served.post(path, json=body, headers=page)
    assert refused.status_code == 409, refused.text
    assert "there is no registry here" in refused.json()["error"]


@pytest.mark.parametrize(
    "body",
    [
        {**DAYS, "first": "yesterday"},
        {**DAYS, "first": "--help"},
        {"first": "2026-03-01"},
        {**DAYS, "reason": ""},
        {**DAYS, "reason": "x" * 201},
        {**DAYS, "reason": "a\x00b"},
        {**DAYS, "by": "monitoring"},
    ],
)
def test_wrong_days_and_reasons_are_refused(
    served: Client, page: dict[str, str], body: dict[str, Any]
) -> None:
    assert served.post("/operator/days/hold", json=body, headers=page).status_code == 422


def test_the_page_is_shown_what_is_held(tmp_path: Path) -> None:
    assert holds(tmp_path).model_dump() == {"promotions": None, "days": [], "note": None}
    hold_promotions(tmp_path, "the sale")
    (first, *_) = hold_days(tmp_path, *_days("2026-03-01", "2026-03-03"), "test", "operator")
    hold_days(tmp_path, *_days("2026-03-02", "2026-03-05"), "no prices", "monitoring")
    found = holds(tmp_path)
    assert found.promotions is not None
    assert found.promotions["reason"] == "the sale"
    assert [(one["first"], one["last"], one["by"]) for one in found.days] == [
        (str(first), "2026-03-03", "operator"),
        ("2026-03-04", "2026-03-05", "monitoring"),
    ]
    (tmp_path / "data/held/days.json").write_text("{")
    assert "cannot be read" in str(holds(tmp_path).note)


def _days(first: str, last: str) -> tuple[date, date]:
    return date.fromisoformat(first), date.fromisoformat(last)
