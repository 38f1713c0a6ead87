"""The typed Python client: generated from today's OpenAPI document, tried against a real server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.api.document import document
from tests.conftest import REPOSITORY

CLIENT = REPOSITORY / "clients/python"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(CLIENT))
    import bowerbird_client.api.shopper as shopper
    from bowerbird_client import models
    from bowerbird_client.api.shopper import feedback, page, recommend, similar_to

    yield {"shopper": shopper, "models": models, "feedback": feedback} | {
        "page": page,
        "recommend": recommend,
        "similar_to": similar_to,
    }
    for name in [name for name in sys.modules if name.startswith("bowerbird_client")]:
        del sys.modules[name]


@pytest.fixture
def client(package: Any, served: httpx.Client) -> Any:
    from bowerbird_client import Client

    return Client(str(served.base_url), timeout=30.0)


def test_the_client_is_of_the_endpoints_document() -> None:
    """After a change of a route or schema: make client."""
    assert (CLIENT / "openapi.json").read_text(encoding="utf-8") == document()


def test_each_route_has_a_module(package: Any) -> None:
    import json

    operations = {
        (one["tags"][0], one["operationId"])
        for path in json.loads(document())["paths"].values()
        for one in path.values()
    }
    for tag, name in operations:
        assert (CLIENT / "bowerbird_client/api" / tag / f"{name}.py").exists(), (tag, name)


def test_recommend_and_feedback(package: Any, client: Any) -> None:
    models = package["models"]
    body = models.RecommendRequest(user_id="python-client", k=4)
    answer = package["recommend"].sync(client=client, body=body)
    assert isinstance(answer, models.RecommendResponse)
    assert answer.identified
    assert [type(item.price) for item in answer.items] == [float] * 4
    event = models.FeedbackEvent(
        user_id="python-client",
        item_id=answer.items[0].item_id,
        event=models.FeedbackEventEvent.CLICK,
        impression_id=answer.impression_id,
    )
    kept = package["feedback"].sync(client=client, body=event)
    assert kept.accepted == 1
    again = package["recommend"].sync(client=client, body=body)
    assert again.history_length == 1


def test_shelves_of_a_page(package: Any, client: Any) -> None:
    models = package["models"]
    first = package["recommend"].sync(client=client, body=models.RecommendRequest(k=1)).items[0]
    shelves = [
        models.Shelf(surface="bought_together", page_items=[first.item_id], k=3),
        models.Shelf(surface="home", k=3),
    ]
    found = package["page"].sync(client=client, body=models.PageRequest(shelves=shelves))
    assert [shelf.surface for shelf in found.shelves] == ["bought_together", "home"]
    assert found.shelves[0].items[0].evidence.additional_properties["support"] >= 3


def test_errors_are_typed_and_async_works(package: Any, client: Any) -> None:
    models = package["models"]
    wrong = models.RecommendRequest(surface="attic")
    detailed = asyncio.run(package["recommend"].asyncio_detailed(client=client, body=wrong))
    assert detailed.status_code == 422
    assert isinstance(detailed.parsed, models.ErrorResponse)
    assert "attic" not in detailed.parsed.error
    assert "bought_together" in detailed.parsed.error
    missing = package["similar_to"].sync(client=client, item_id="no such product")
    assert isinstance(missing, models.ErrorResponse)
