"""Requests made from the OpenAPI document itself: nothing that a client sends breaks the server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as budget
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from components.settings import Settings

CHECKS = [
    not_a_server_error,
    response_schema_conformance,
    content_type_conformance,
    status_code_conformance,
]


KEYS = {"BOWERBIRD_API_KEY": "the shop's key", "BOWERBIRD_OPERATOR_KEY": "the operator's key"}

CALLERS = {
    "without a key": {},
    "with a wrong key": {"x-api-key": "another"},
    "the shop": {"x-api-key": KEYS["BOWERBIRD_API_KEY"]},
    "the operator": {"x-api-key": KEYS["BOWERBIRD_OPERATOR_KEY"]},
}


@pytest.fixture(scope="module")
def keyed(
    trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory, in_thread: Any
) -> Iterator[httpx.Client]:
    """A client of a server that has both keys."""
    root = tmp_path_factory.mktemp("keyed")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, root / "models" / name)
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    server = in_thread(root, KEYS).start()
    with server.client() as client:
        yield client
    server.stop()


def fuzz(client: httpx.Client, headers: dict[str, str], examples: int) -> set[str]:
    """Send requests made from the document to every route; return the routes."""
    document = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    tried = set()
    for found in document.get_all_operations():
        operation = found.ok()

        @budget(
            max_examples=examples,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS, headers=headers)

        check()
        tried.add(operation.label)
    return tried


def values_with(number: int, schema: dict[str, Any], document: dict[str, Any]) -> Iterator[Any]:
    """Yield values of a schema, in each of which one field is ``number``."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    yield number
    for option in schema.get("anyOf", []) + schema.get("oneOf", []):
        yield from values_with(number, option, document)
    if "items" in schema:
        for one in values_with(number, schema["items"], document):
            yield [one]
    for field in schema.get("patternProperties", {}).values():
        for one in values_with(number, field, document):
            yield {"name": one}
    example = schema.get("examples", [{}])[0]
    for name, field in schema.get("properties", {}).items():
        for one in values_with(number, field, document):
            yield {**example, name: one}


def test_a_number_of_many_digits_is_no_server_error(keyed: httpx.Client) -> None:
    document = keyed.get("/openapi.json").json()
    headers, tried = CALLERS["the operator"], set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    query = {parameter["name"]: "9" * 5000}
                    answer = keyed.request(method, path, params=query, headers=headers)
                    assert answer.status_code < 500, (method, path, query.keys(), answer.text)
            if "requestBody" not in operation:
                continue
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            for body in values_with(10**400, schema, document):
                answer = keyed.request(method, path, json=body, headers=headers)
                assert answer.status_code < 500, (method, path, answer.text)
                tried.add(f"{method.upper()} {path}")
    assert tried >= {*ROUTES, "POST /search", "POST /facets", "POST /similar", "POST /feedback"}


EXAMPLES = pytest.mark.parametrize(
    "examples", [pytest.param(2, id="few"), pytest.param(200, id="many", marks=pytest.mark.slow)]
)
ROUTES = {"PUT /items", "POST /rerank", "POST /recommend", "POST /conversation"}


@EXAMPLES
def test_every_answer_is_as_documented(served: httpx.Client, examples: int) -> None:
    assert fuzz(served, {}, examples) >= ROUTES


@EXAMPLES
@pytest.mark.parametrize("caller", CALLERS)
def test_where_keys_are_set_every_answer_is_as_documented(
    keyed: httpx.Client, caller: str, examples: int
) -> None:
    assert fuzz(keyed, CALLERS[caller], examples) >= ROUTES
