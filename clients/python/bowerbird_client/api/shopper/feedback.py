from http import HTTPStatus
from typing import Any

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error_response import ErrorResponse
from ...models.feedback_event import FeedbackEvent
from ...models.feedback_response import FeedbackResponse
from ...types import Response


def _get_kwargs(
    *,
    body: FeedbackEvent,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "post",
        "url": "/feedback",
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> ErrorResponse | FeedbackResponse | None:
    if response.status_code == 200:
        response_200 = FeedbackResponse.from_dict(response.json())

        return response_200

    if response.status_code == 401:
        response_401 = ErrorResponse.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = ErrorResponse.from_dict(response.json())

        return response_403

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
) -> Response[ErrorResponse | FeedbackResponse]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: FeedbackEvent,
) -> Response[ErrorResponse | FeedbackResponse]:
    """Feedback

     Store one event. It is durable when the response arrives, and counts in the next one.

    Args:
        body (FeedbackEvent): What a shopper did. Sent again with the same event_id it is kept
            once.

            With the shop's key it names a user or a session; with a session token it is the token's.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | FeedbackResponse]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    body: FeedbackEvent,
) -> ErrorResponse | FeedbackResponse | None:
    """Feedback

     Store one event. It is durable when the response arrives, and counts in the next one.

    Args:
        body (FeedbackEvent): What a shopper did. Sent again with the same event_id it is kept
            once.

            With the shop's key it names a user or a session; with a session token it is the token's.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | FeedbackResponse
    """

    return sync_detailed(
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    body: FeedbackEvent,
) -> Response[ErrorResponse | FeedbackResponse]:
    """Feedback

     Store one event. It is durable when the response arrives, and counts in the next one.

    Args:
        body (FeedbackEvent): What a shopper did. Sent again with the same event_id it is kept
            once.

            With the shop's key it names a user or a session; with a session token it is the token's.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[ErrorResponse | FeedbackResponse]
    """

    kwargs = _get_kwargs(
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    body: FeedbackEvent,
) -> ErrorResponse | FeedbackResponse | None:
    """Feedback

     Store one event. It is durable when the response arrives, and counts in the next one.

    Args:
        body (FeedbackEvent): What a shopper did. Sent again with the same event_id it is kept
            once.

            With the shop's key it names a user or a session; with a session token it is the token's.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        ErrorResponse | FeedbackResponse
    """

    return (
        await asyncio_detailed(
            client=client,
            body=body,
        )
    ).parsed
