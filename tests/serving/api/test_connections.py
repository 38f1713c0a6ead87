"""Clients that are slow, silent, endless or many, with real sockets against a real endpoint.

Its limits are short, and it may open 256 files: as many as a shell allows on some systems.
"""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from components.settings import Serve, Settings
from serving.api import connections

HEAD = b"GET /empty HTTP/1.1\r\nhost: localhost\r\n"
POST = b"POST /feedback HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n"
HEADER_BYTES, HEADERS = 32_768, 100  # the defaults
SECONDS = 1.0  # each time limit of the server
LATE = 4.0  # by then every limit has been kept, on a busy machine too
PIECE = b"a" * 65_536


@pytest.fixture(scope="module")
def server(
    trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory, make_server: Any
) -> Iterator[Any]:
    """One endpoint for all tests of this module."""
    root = tmp_path_factory.mktemp("connections")
    shutil.copytree(trained[0] / "models/hybrid", root / "models/hybrid")
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    names = ("HEADER_TIMEOUT", "BODY_TIMEOUT", "WRITE_TIMEOUT", "KEEP_ALIVE")
    limits = {f"BOWERBIRD_SERVE__{name}": str(SECONDS) for name in names}
    started = make_server(root, limits, open_files=256).start()
    yield started
    started.stop()


def connect(server: Any, address: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
    """Return a connection to the server from an address of this machine."""
    opened = socket.socket()
    if receive_buffer:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    opened.settimeout(10)
    opened.bind((address, 0))
    opened.connect(("127.0.0.1", server.port))
    return opened


def received(opened: socket.socket, seconds: float = LATE) -> bytes:
    """Return everything until the server closes; fails if it does not in so many seconds."""
    until = time.monotonic() + seconds
    parts = []
    with opened, suppress(ConnectionResetError):
        while True:
            opened.settimeout(max(0.01, until - time.monotonic()))
            part = opened.recv(65_536)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of the answers of one connection."""
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d{3}) ", answers)]


def endless(opened: socket.socket, piece: bytes, limit: int = 30_000_000) -> bytes:
    """Send the piece again and again until the server closes; return its answers."""
    sent = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        while sent < limit:
            opened.sendall(piece)
            sent += len(piece)
    assert sent < limit, "the server took all of it"
    return received(opened)


def drip(opened: socket.socket, piece: bytes, seconds: float = 2 * LATE) -> bytes:
    """Send the piece five times a second until the server closes; return its answers."""
    until = time.monotonic() + seconds
    parts = []
    opened.settimeout(0.2)
    with opened, suppress(BrokenPipeError, ConnectionResetError):
        while True:
            assert time.monotonic() < until, "the connection lives on"
            opened.send(piece)
            with suppress(TimeoutError):
                parts.append(opened.recv(65_536))
                if not parts[-1]:
                    break
    return b"".join(parts)


def refused(server: Any, why: str) -> float:
    """Return how many were refused for this reason."""
    with server.client() as client:
        text = client.get("/metrics").text
    found = re.search(rf'bowerbird_refused_total{{why="{why}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


def ask(server: Any, address: str = "127.0.0.1") -> None:
    """Ask once over a new connection and check the answer."""
    client = http.client.HTTPConnection(
        "127.0.0.1", server.port, timeout=5, source_address=(address, 0)
    )
    client.request("GET", "/empty")
    assert client.getresponse().status == 200
    client.close()


@contextmanager
def ordinary_client(server: Any) -> Iterator[None]:
    """Ask all the while from another address; 99 of 100 answers must come within a second."""
    latencies: list[float] = []
    failures: list[Exception] = []
    done = threading.Event()

    def work() -> None:
        while not done.wait(0.01) or len(latencies) < 20:
            begun = time.perf_counter()
            try:
                ask(server, "127.0.0.9")
            except Exception as error:
                failures.append(error)
                return
            latencies.append(time.perf_counter() - begun)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not failures, failures
    assert sorted(latencies)[int(0.99 * (len(latencies) - 1))] < 1


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        pytest.param(HEAD + b"x-endless: ", PIECE, id="header"),
        pytest.param(HEAD, b"x-name: 1\r\n" * 6_000, id="names"),
        pytest.param(b"GET /", PIECE, id="request-line"),
        pytest.param(CHUNKED + b"2\r\n{}\r\n0\r\nx-endless: ", PIECE, id="trailer"),
        pytest.param(CHUNKED + b"2;", PIECE, id="chunk-extension"),
        pytest.param(b"", b"\r\n" * 32_768, id="empty-lines"),
    ],
)
def test_what_has_no_end_is_cut(server: Any, begin: bytes, piece: bytes) -> None:
    before = refused(server, "header_bytes")
    with ordinary_client(server):
        opened = connect(server)
        opened.sendall(begin)
        answers = endless(opened, piece)
    assert statuses(answers) == [431]
    assert b"32768 bytes" in answers
    assert refused(server, "header_bytes") == before + 1


def test_a_chunked_body_without_end_is_cut(server: Any) -> None:
    with ordinary_client(server):
        opened = connect(server)
        opened.sendall(CHUNKED)
        answers = endless(opened, b"10000\r\n" + PIECE + b"\r\n")
    assert statuses(answers) == [413]


@pytest.mark.parametrize("pieces", [1, 50])
def test_headers_up_to_the_limits_are_taken(server: Any, pieces: int) -> None:
    def answer(headers: bytes) -> list[int]:
        opened = connect(server)
        request = HEAD + headers + b"connection: close\r\n\r\n"
        size = -(-len(request) // pieces)
        for start in range(0, len(request), size):
            opened.sendall(request[start : start + size])
            time.sleep(0.002 if pieces > 1 else 0)
        return statuses(received(opened))

    assert answer(b"x-long: " + b"a" * (HEADER_BYTES - 200) + b"\r\n") == [200]
    assert answer(b"x-long: " + b"a" * HEADER_BYTES + b"\r\n") == [431]
    assert answer(b"x-name: 1\r\n" * (HEADERS - 2)) == [200]
    assert answer(b"x-name: 1\r\n" * HEADERS) == [431]


def test_slow_clients_are_answered_408(server: Any) -> None:
    cases = [(HEAD, b"x", 408), (POST + b"content-length: 900\r\n\r\n", b" ", 408)]
    # A body that goes on after its refusal, and empty lines after an answer.
    cases += [(POST + b"content-length: 9000000\r\n\r\n", b" ", 413)]
    cases += [(HEAD + b"\r\n", b"\r\n", 200)]
    found: list[list[int]] = [[] for _ in cases]

    def attack(at: int) -> None:
        begin, piece, _ = cases[at]
        opened = connect(server)
        opened.sendall(begin)
        found[at] = statuses(drip(opened, piece))

    before = refused(server, "header_timeout"), refused(server, "body_timeout")
    with ordinary_client(server):
        threads = [threading.Thread(target=attack, args=(at,)) for at in range(len(cases))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [each[:1] for each in found] == [[status] for *_, status in cases]
    assert refused(server, "header_timeout") > before[0]
    assert refused(server, "body_timeout") > before[1]


def test_connections_that_rest_are_closed(server: Any) -> None:
    silent, kept = connect(server), connect(server)
    kept.sendall(HEAD + b"\r\n")
    assert received(silent) == b""
    assert statuses(received(kept)) == [200]


def test_idle_connections_keep_nobody_out(server: Any) -> None:
    """More than there may be, of one address, then of several, for longer than one limit."""
    with ExitStack() as stack, ordinary_client(server):
        until = time.monotonic() + 2 * SECONDS
        at = 0
        while time.monotonic() < until and at < 2_000:
            opened = connect(server, f"127.0.0.{1 + at // 300}")
            stack.enter_context(opened)
            if at % 2:
                opened.sendall(HEAD)  # half of them have begun
            at += 1
            if at % 50 == 0:
                ask(server, "127.0.0.1")
    assert at > 300
    assert refused(server, "displaced") > 0
    assert "Too many open files" not in server.log.read_text()


def test_pipelined_requests_are_answered_up_to_a_limit(server: Any) -> None:
    opened = connect(server)
    opened.sendall((HEAD + b"\r\n") * 16)
    assert statuses(received(opened)) == [200] * 16
    with ordinary_client(server):
        opened = connect(server)
        with suppress(ConnectionResetError, BrokenPipeError):
            opened.sendall((HEAD + b"\r\n") * 6_000)
        answers = received(opened)
    assert 16 < len(statuses(answers)) <= connections.MAX_PIPELINED + 1
    assert answers.count(b"connection: close") == 1
    assert refused(server, "pipelined") > 0


def test_a_client_that_does_not_read_is_cut(server: Any) -> None:
    before = refused(server, "write_timeout")
    slow = [connect(server, receive_buffer=2_048) for _ in range(3)]
    with ordinary_client(server):
        for opened in slow:
            for _ in range(4):
                opened.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 40)
                time.sleep(0.1)
        until = time.monotonic() + 5 * LATE
        while refused(server, "write_timeout") < before + len(slow):
            assert time.monotonic() < until, "they are still held"
            time.sleep(0.2)
    for opened in slow:
        opened.close()


def test_connections_are_not_upgraded(server: Any) -> None:
    def answer(request: bytes, later: bytes = b"") -> bytes:
        opened = connect(server)
        opened.sendall(request)
        if later:
            time.sleep(0.2)
            with suppress(ConnectionResetError, BrokenPipeError):
                opened.sendall(later)
        return received(opened)

    upgrade = b"connection: upgrade\r\nupgrade: "
    assert statuses(answer(HEAD + upgrade + b"websocket\r\n\r\n")) == [400]
    assert statuses(answer(b"CONNECT example.com:80 HTTP/1.1\r\nhost: x\r\n\r\n")) == [400]
    # Java's client offers h2c with its first request and takes an ordinary answer.
    assert statuses(answer(HEAD + upgrade + b"h2c\r\n\r\n")) == [200]
    # uvicorn's parser would read this body as the next request.
    length = b"content-length: %d\r\n\r\n" % len(HEAD + b"\r\n")
    assert statuses(answer(POST + upgrade + b"h2c\r\n" + length, HEAD + b"\r\n")) == [400]


def test_what_is_not_http_is_answered_400(server: Any) -> None:
    size = server.log.stat().st_size
    before = refused(server, "bad_request")
    for sent in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9\r\n\r\n", b"no request\r\n\r\n"):
        opened = connect(server)
        opened.sendall(sent)
        assert statuses(received(opened)) == [400]
    assert refused(server, "bad_request") == before + 3
    assert server.log.stat().st_size == size, "a stranger writes into the log"


def test_refusals_leave_no_traceback_in_the_log(server: Any) -> None:
    """The last test of this module: all attacks have been made."""
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def small() -> Iterator[int]:
    """The port of uvicorn with ``Connection`` before an application that answers its headers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        while (await receive()).get("more_body"):
            pass
        names = b" ".join(name for name, _ in scope["headers"])
        length = (b"content-length", b"%d" % len(names))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": names})

    connections.install(Serve(max_connections=40, trusted_proxies=["127.0.0.8/32"]))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def test_headers_after_the_body_do_not_become_the_requests(small: int) -> None:
    with socket.create_connection(("127.0.0.1", small), timeout=5) as opened:
        opened.sendall(CHUNKED + b"2\r\n{}\r\n")
        time.sleep(0.1)
        opened.sendall(b"0\r\nx-api-key: stolen\r\n\r\n")
        answer = opened.recv(65_536)
    assert b"transfer-encoding" in answer
    assert b"x-api-key" not in answer


def test_uvicorn_still_has_what_is_replaced(small: int) -> None:
    """BentoML gives uvicorn no protocol, so "auto" is looked up in this table, by this name.

    If this fails after an update of BentoML or uvicorn, the endpoint runs without limits: see
    ``connections.install``.
    """
    config = uvicorn.Config("tests:none")
    assert config.http == "auto"
    assert uvicorn.config.HTTP_PROTOCOLS["auto"] == "serving.api.connections:Connection"
    assert (
        uvicorn.importer.import_from_string(uvicorn.config.HTTP_PROTOCOLS["auto"])
        is connections.Connection
    )
    own = {name for name in vars(connections.Connection) if not name.startswith("__")}
    added = {"table", "abort", "check", "waiting_since", "refuse"}
    added |= {"_answer", "_refuse_header_bytes", "_header_bytes", "_no_plain_request"}
    assert own - added <= set(dir(HttpToolsProtocol))


@pytest.mark.slow
def test_a_trusted_proxy_may_have_more_connections_than_a_client(small: int) -> None:
    def closed_of_22(address: str) -> int:
        closed = 0
        with ExitStack() as stack:
            opened = [
                stack.enter_context(
                    socket.create_connection(("127.0.0.1", small), source_address=(address, 0))
                )
                for _ in range(22)
            ]
            time.sleep(0.2)
            for each in opened:
                each.setblocking(False)
                with suppress(BlockingIOError, ConnectionResetError):
                    closed += each.recv(1) == b""
        time.sleep(0.2)
        return closed

    assert closed_of_22("127.0.0.8") == 0
    assert closed_of_22("127.0.0.7") == 2  # half of all is for the clients of this machine
