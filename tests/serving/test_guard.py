"""The middleware around everything, by itself and in the real server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.guard import StartTimeout

SCOPE = {"type": "http"}


def ask(app: Any, timeout: float) -> list[dict[str, Any]]:
    """Return what was sent to the client."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(StartTimeout(app, timeout)(SCOPE, None, send))
    return sent


def test_an_answer_that_does_not_begin_in_time_is_a_504() -> None:
    ended = []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    start, body = ask(never, 0.05)
    assert start["status"] == 504
    assert "0.05 seconds" in json.loads(body["body"])["error"]
    assert ended


def test_one_that_has_begun_may_take_its_time() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"late"})

    assert [message.get("body") for message in ask(slow, 0.05)] == [None, b"late"]


def test_nothing_of_a_request_is_kept_after_its_answer() -> None:
    async def quick(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def timers_after() -> int:
        app, loop = StartTimeout(quick, 30), asyncio.get_running_loop()
        for _ in range(10):
            await app(SCOPE, None, _ignore)
        return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(timers_after()) == 0


async def _ignore(message: Any) -> None:
    pass


def test_the_server_answers_a_request_that_never_ends(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    """A client that promises a body and does not send it: BentoML uses our middleware."""
    options = {"BENTOML_CONFIG_OPTIONS": 'services."bowerbird-shop".traffic.timeout=1'}
    server = serve(shop_root, options).start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"content-length: 50\r\n\r\n{"
        )
        answer = b""
        while b"seconds" not in answer and (more := client.recv(65536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"no answer within 1 seconds" in answer
