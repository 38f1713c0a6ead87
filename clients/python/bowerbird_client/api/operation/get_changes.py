from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error_response import ErrorResponse
from ...models.rule_changes import RuleChanges
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    limit: int | Unset = 50,
    before: int | None | Unset = UNSET,
    rule_id: None | str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["limit"] = limit

    json_before: int | Unset | None
    if isinstance(before, Unset):
        json_before = UNSET
    else:
        json_before = before
    params["before"] = json_before

    json_rule_id: str | Unset | None
    if isinstance(rule_id, Unset):
        json_rule_id = UNSET
    else:
        json_rule_id = rule_id
    params["rule_id"] = json_rule_id

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/merchandising/changes",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ErrorResponse | RuleChanges | None:
    if response.status_code == 200:
        response_200 = RuleChanges.from_dict(response.json())

        return response_200

    if response.status_code == 401:
        response_401 = ErrorResponse.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = ErrorResponse.from_dict(response.json())

        return response_403

    if response.status_code == 415:
        response_415 = ErrorResponse.from_dict(response.json())

        return response_415

    if response.status_code == 422:
        response_422 = ErrorResponse.from_dict(response.json())

        return response_422

    if response.status_code == 429:
        response_429 = ErrorResponse.from_dict(response.json())

        return response_429

    if response.status_code == 503:
        response_503 = ErrorResponse.from_dict(response.json())

        return response_503

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[ErrorResponse | RuleChanges]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 50,
    before: int | None | Unset = UNSET,
    rule_id: None | str | Unset = UNSET,
) -> Response[ErrorResponse | RuleChanges]:
    """Get Changes

     The audit trail: who changed which rule, when, to what, and why.

    Args:
        limit (int | Unset):  Default: 50.
        before (int | None | Unset):
        rule_id (None | str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | RuleChanges]
    """

    kwargs = _get_kwargs(
        limit=limit,
        before=before,
        rule_id=rule_id,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 50,
    before: int | None | Unset = UNSET,
    rule_id: None | str | Unset = UNSET,
) -> ErrorResponse | RuleChanges | None:
    """Get Changes

     The audit trail: who changed which rule, when, to what, and why.

    Args:
        limit (int | Unset):  Default: 50.
        before (int | None | Unset):
        rule_id (None | str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | RuleChanges
    """

    return sync_detailed(
        client=client,
        limit=limit,
        before=before,
        rule_id=rule_id,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 50,
    before: int | None | Unset = UNSET,
    rule_id: None | str | Unset = UNSET,
) -> Response[ErrorResponse | RuleChanges]:
    """Get Changes

     The audit trail: who changed which rule, when, to what, and why.

    Args:
        limit (int | Unset):  Default: 50.
        before (int | None | Unset):
        rule_id (None | str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | RuleChanges]
    """

    kwargs = _get_kwargs(
        limit=limit,
        before=before,
        rule_id=rule_id,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    limit: int | Unset = 50,
    before: int | None | Unset = UNSET,
    rule_id: None | str | Unset = UNSET,
) -> ErrorResponse | RuleChanges | None:
    """Get Changes

     The audit trail: who changed which rule, when, to what, and why.

    Args:
        limit (int | Unset):  Default: 50.
        before (int | None | Unset):
        rule_id (None | str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | RuleChanges
    """

    return (
        await asyncio_detailed(
            client=client,
            limit=limit,
            before=before,
            rule_id=rule_id,
        )
    ).parsed
