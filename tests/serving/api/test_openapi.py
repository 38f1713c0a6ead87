"""Requests made from the OpenAPI document itself: nothing that a client sends breaks the server."""

from __future__ import annotations

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

CHECKS = [
    not_a_server_error,
    response_schema_conformance,
    content_type_conformance,
    status_code_conformance,
]


@pytest.mark.parametrize(
    "examples", [pytest.param(3, id="few"), pytest.param(200, id="many", marks=pytest.mark.slow)]
)
def test_every_answer_is_as_documented(served: httpx.Client, examples: int) -> None:
    document = schemathesis.openapi.from_url(f"{served.base_url}/openapi.json")
    tried = []
    for found in document.get_all_operations():
        operation = found.ok()

        @budget(
            max_examples=examples,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        check()
        tried.append(operation.label)
    assert {"PUT /items", "POST /rerank", "POST /recommend", "POST /conversation"} <= set(tried)
