"""The writing model: one in this process, one behind HTTP, and none."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.language.families import open_model, open_tokenizer, save_model
from components.language.writer import KEY, LocalWriter, RemoteWriter, WriterError, open_writer
from components.settings import Serve

ASKED = [
    {"role": "system", "content": "You sell gifts."},
    {"role": "user", "content": "A red mug?"},
]


class Service(ThreadingHTTPServer):
    """Speaks the streaming chat completions protocol: answers with the last message, reversed,
    or with what ``answer`` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.delay = 0.0
        self.answer = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Answer(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.path != "/v1/chat/completions" or body["model"] != "parrot":
            message = f"there is no such model for {self.headers['Authorization']}"
            error = json.dumps({"error": {"message": message}}).encode()
            self.send_response(404)
            self.send_header("Content-Length", str(len(error)))
            self.end_headers()
            self.wfile.write(error)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        words = self.server.answer.split() or body["messages"][-1]["content"].split()[::-1]
        deltas = [{"role": "assistant", "content": ""}, *({"content": f"{w} "} for w in words), {}]
        try:
            for delta in deltas:
                chunk = {
                    "id": "c1",
                    "object": "chat.completion.chunk",
                    "created": 0,
                    "model": "parrot",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
                }
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
                time.sleep(self.server.delay)
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass  # the reader has left

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT from scratch, as `bowerbird pretrain` would leave one."""
    texts = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("bag", "mug")] * 20
    tokenizer = open_tokenizer("scratch:gpt2", texts)
    model, _ = open_model("scratch:gpt2", tokenizer, seed=1)
    model.config.eos_token_id = model.generation_config.eos_token_id = None  # never at a loss
    place = tmp_path_factory.mktemp("writer") / "model"
    save_model(model, tokenizer, place)
    return place


def test_without_one_there_is_none() -> None:
    assert open_writer(Serve()) is None


def test_a_service_answers_piece_by_piece(service: Service, monkeypatch) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    writer = open_writer(Serve(writer=service.address, writer_model="parrot", writer_tokens=9))
    assert list(writer.write(ASKED)) == ["mug? ", "red ", "A "]
    assert service.requests[0]["messages"] == ASKED
    assert (service.requests[0]["max_tokens"], service.keys) == (9, ["Bearer s3cret"])


def test_a_service_that_refuses_is_an_error_with_words(service: Service, monkeypatch) -> None:
    monkeypatch.setenv(KEY, "s3cret")
    address = service.address.replace("//", "//user:s3cret@") + "?api_key=s3cret"
    with pytest.raises(WriterError, match=r"nobody.*no such model") as refused:
        list(RemoteWriter(service.address, "nobody").write(ASKED))
    assert "s3cret" not in str(refused.value)  # which the service quotes
    with pytest.raises(WriterError, match="did not answer") as refused:
        list(RemoteWriter(address, "nobody").write(ASKED))
    assert "s3cret" not in str(refused.value)
    with pytest.raises(WriterError, match="writer_model"):
        open_writer(Serve(writer=service.address))


def test_a_service_that_is_not_there_is_an_error(service: Service) -> None:
    service.server_close()
    with pytest.raises(WriterError, match="did not answer"):
        list(RemoteWriter(service.address, "parrot", timeout=2).write(ASKED))


def test_a_service_that_trickles_is_cut_off(service: Service) -> None:
    service.delay = 0.3
    answer = RemoteWriter(service.address, "parrot", timeout=0.5).write(ASKED)
    assert next(answer) == "mug? "
    with pytest.raises(WriterError, match="writer_timeout"):
        list(answer)


def test_a_local_model_writes_no_more_than_asked(folder: Path) -> None:
    writer = open_writer(Serve(writer=str(folder), writer_tokens=7))
    assert isinstance(writer, LocalWriter)
    answer = "".join(writer.write(ASKED))
    assert len(writer.tokenizer(answer)["input_ids"]) in range(1, 9)
    inputs = writer.prompt(ASKED)
    whole = writer.model.generate(**inputs, max_new_tokens=7, do_sample=False, pad_token_id=0)
    expected = whole[0, inputs["input_ids"].shape[1] :]
    assert answer == writer.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_long_conversation_keeps_its_newest_words(folder: Path) -> None:
    writer = LocalWriter(folder, tokens=24)
    places = writer.model.config.max_position_embeddings
    long = [{"role": "user", "content": "red mug " * 2000}, *ASKED]
    ids = writer.prompt(long)["input_ids"]
    assert ids.shape == (1, places - 24)
    assert writer.tokenizer.decode(ids[0]).endswith("A red mug?\nassistant:")
    assert "".join(writer.write(long))


def test_a_local_model_stops_when_the_reader_leaves_or_time_is_up(folder: Path) -> None:
    writer = LocalWriter(folder, tokens=900, timeout=60)
    began = time.monotonic()
    pieces = writer.write(ASKED)
    assert list(itertools.islice(pieces, 1))
    pieces.close()
    assert writer._turn.acquire(timeout=5)  # the model is free again
    writer._turn.release()
    hasty = LocalWriter(folder, tokens=900, timeout=0.2)
    assert len("".join(hasty.write(ASKED))) < len("".join(writer.write(ASKED)))
    assert time.monotonic() - began < 30


def test_a_folder_without_a_model_is_refused_with_words(tmp_path: Path) -> None:
    with pytest.raises(WriterError, match="no folder"):
        LocalWriter(tmp_path / "nowhere")
    with pytest.raises(WriterError, match="no causal model"):
        LocalWriter(tmp_path)
