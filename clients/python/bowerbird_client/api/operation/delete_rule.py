from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error_response import ErrorResponse
from ...models.rule_entry import RuleEntry
from ...types import UNSET, Response, Unset


def _get_kwargs(
    rule_id: str,
    *,
    author: str | Unset = "",
    note: str | Unset = "",
    version: int | None | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    params["author"] = author

    params["note"] = note

    json_version: int | Unset | None
    if isinstance(version, Unset):
        json_version = UNSET
    else:
        json_version = version
    params["version"] = json_version

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "delete",
        "url": "/merchandising/rules/{rule_id}".format(
            rule_id=quote(str(rule_id), safe=""),
        ),
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ErrorResponse | RuleEntry | None:
    if response.status_code == 200:
        response_200 = RuleEntry.from_dict(response.json())

        return response_200

    if response.status_code == 401:
        response_401 = ErrorResponse.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = ErrorResponse.from_dict(response.json())

        return response_403

    if response.status_code == 409:
        response_409 = ErrorResponse.from_dict(response.json())

        return response_409

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
) -> Response[ErrorResponse | RuleEntry]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    rule_id: str,
    *,
    client: AuthenticatedClient | Client,
    author: str | Unset = "",
    note: str | Unset = "",
    version: int | None | Unset = UNSET,
) -> Response[ErrorResponse | RuleEntry]:
    """Delete Rule

     Delete a rule; the audit trail keeps it.

    Args:
        rule_id (str):
        author (str | Unset):  Default: ''.
        note (str | Unset):  Default: ''.
        version (int | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | RuleEntry]
    """

    kwargs = _get_kwargs(
        rule_id=rule_id,
        author=author,
        note=note,
        version=version,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    rule_id: str,
    *,
    client: AuthenticatedClient | Client,
    author: str | Unset = "",
    note: str | Unset = "",
    version: int | None | Unset = UNSET,
) -> ErrorResponse | RuleEntry | None:
    """Delete Rule

     Delete a rule; the audit trail keeps it.

    Args:
        rule_id (str):
        author (str | Unset):  Default: ''.
        note (str | Unset):  Default: ''.
        version (int | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | RuleEntry
    """

    return sync_detailed(
        rule_id=rule_id,
        client=client,
        author=author,
        note=note,
        version=version,
    ).parsed


async def asyncio_detailed(
    rule_id: str,
    *,
    client: AuthenticatedClient | Client,
    author: str | Unset = "",
    note: str | Unset = "",
    version: int | None | Unset = UNSET,
) -> Response[ErrorResponse | RuleEntry]:
    """Delete Rule

     Delete a rule; the audit trail keeps it.

    Args:
        rule_id (str):
        author (str | Unset):  Default: ''.
        note (str | Unset):  Default: ''.
        version (int | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | RuleEntry]
    """

    kwargs = _get_kwargs(
        rule_id=rule_id,
        author=author,
        note=note,
        version=version,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    rule_id: str,
    *,
    client: AuthenticatedClient | Client,
    author: str | Unset = "",
    note: str | Unset = "",
    version: int | None | Unset = UNSET,
) -> ErrorResponse | RuleEntry | None:
    """Delete Rule

     Delete a rule; the audit trail keeps it.

    Args:
        rule_id (str):
        author (str | Unset):  Default: ''.
        note (str | Unset):  Default: ''.
        version (int | None | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | RuleEntry
    """

    return (
        await asyncio_detailed(
            rule_id=rule_id,
            client=client,
            author=author,
            note=note,
            version=version,
        )
    ).parsed
