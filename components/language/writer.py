"""Text generation: an optional language model that words the responses of the conversation.

In: chat messages ``{"role": "system" | "user" | "assistant", "content": text}``, seconds. Out: the
response as a stream that ends within these seconds, whatever the model or the service does.
``serve.writer`` of params.yaml selects the model:

    ""                         none: no model is loaded
    smollm2-135m-instruct      a small model of English that a package carries (``packaged.py``)
    models/language/writer     a folder with a causal model that ``save_pretrained`` wrote
    http://127.0.0.1:8000/v1   a service with the OpenAI chat completions protocol; the model's
                               name is in ``serve.writer_model`` and the key, if it needs one, in
                               the environment variable BOWERBIRD_WRITER_KEY
"""

from __future__ import annotations

import json
import os
import queue
import re
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import httpx

from components.credentials import (
    MASK,
    Credential,
    keep_urls_out_of_logs,
    mask_credentials,
)
from components.language.packaged import WRITERS, MissingPackageError, packaged_folder
from components.settings import Serve

KEY = "BOWERBIRD_WRITER_KEY"


class WriterError(RuntimeError):
    """The writing model cannot be opened or did not answer; the message says what to do."""


class Writer(Protocol):
    """timeout: seconds for all that words one answer. languages: ISO 639-1 codes of those that the
    model writes well enough to be read by shoppers."""

    timeout: float
    languages: frozenset[str]

    def write(
        self, messages: Iterable[Mapping[str, str]], seconds: float
    ) -> Generator[str, None, None]:
        """Yield the response to ``messages`` in pieces, as it is generated.

        Closing the iterator stops the generation.

        Raises:
            WriterError: no whole response within ``seconds``, or an error. Pieces may have been
                yielded before.
        """
        ...


def open_writer(settings: Serve, root: Path = Path()) -> Writer | None:
    """Return the writer that ``settings.writer`` names, None for "".

    root: the project's folder; a packaged model is converted there the first time.

    Raises:
        WriterError: the folder holds no causal model, the model's package is not installed, or an
            address has no model's name.
    """
    named = settings.writer.get_secret_value()
    if not named:
        return None
    limits = settings.writer_tokens, settings.writer_timeout
    languages = frozenset(settings.writer_languages)
    if named.startswith(("http://", "https://")):
        if not settings.writer_model:
            raise WriterError(
                f"serve.writer_model: name the model that {settings.writer} shall answer with"
            )
        return RemoteWriter(named, settings.writer_model, *limits, languages)
    if named in WRITERS:
        known = WRITERS[named].languages
        try:
            return LocalWriter(packaged_folder(named, root), *limits, known or languages)
        except MissingPackageError as error:
            raise WriterError(f"serve.writer: {error}") from error
    return LocalWriter(named, *limits, languages)


@runtime_checkable
class FillsSchema(Protocol):
    """A language model that answers with JSON of a given schema."""

    def fill(
        self, messages: Iterable[Mapping[str, str]], schema: Mapping[str, Any], seconds: float
    ) -> str:
        """Return the JSON text of a response to ``messages`` that keeps to a JSON schema, as far as
        it was complete.

        Raises:
            WriterError: no whole response within ``seconds``, or an error.
        """
        ...


MOST_FILLED = 200
"""Tokens of a filled schema, at most."""
ENGLISH_ONLY = frozenset({"en"})
LARGEST = 2**20
"""Bytes of a response of a service, at most, with the protocol's own."""


class RemoteWriter:
    """A service with the OpenAI chat completions protocol, streaming.

    tokens: most tokens of a response. timeout: seconds for what words one answer. languages: those
    that the service's model writes. A redirect is refused: it could lead anywhere.
    """

    def __init__(
        self,
        address: str,
        model: str,
        tokens: int = 256,
        timeout: float = 20.0,
        languages: frozenset[str] = ENGLISH_ONLY,
    ) -> None:
        from openai import OpenAI  # takes 1 to 2 s to import, so only if a service is configured

        keep_urls_out_of_logs()
        self.model, self.tokens, self.timeout, self.languages = model, tokens, timeout, languages
        self.address = str(Credential(address))
        """The address for messages, with its credentials masked."""
        # Local services need no key, but the client requires one.
        self._key = key = os.environ.get(KEY) or "none"
        http = httpx.Client(follow_redirects=False, event_hooks={"response": [_limit]})
        self._client = OpenAI(
            base_url=address, api_key=key, timeout=timeout, max_retries=1, http_client=http
        )

    def write(
        self, messages: Iterable[Mapping[str, str]], seconds: float
    ) -> Generator[str, None, None]:
        return self._pieces(messages, seconds, {"max_tokens": self.tokens})

    def _pieces(
        self, messages: Iterable[Mapping[str, str]], seconds: float, options: Any
    ) -> Generator[str, None, None]:
        """Yield the pieces of a response. options: further fields of the request."""
        until = time.monotonic() + seconds
        pieces: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
        closed = threading.Event()
        arguments = (list(messages), seconds, pieces, closed, options)
        # A read has a timeout of its own, which a service that trickles bytes never reaches.
        threading.Thread(target=self._read, args=arguments, name="writer", daemon=True).start()
        try:
            while True:
                try:
                    piece = pieces.get(timeout=max(0.0, until - time.monotonic()))
                except queue.Empty:
                    raise WriterError(
                        f"serve.writer: {self.address} took more than {seconds:.1f} s "
                        "(writer_timeout)"
                    ) from None
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    # Services quote the request in their errors.
                    message = re.sub(rf"\b{re.escape(self._key)}\b", MASK, str(piece))
                    raise WriterError(
                        f"serve.writer: {self.address} did not answer with {self.model}: "
                        f"{type(piece).__name__}: {mask_credentials(message):.200}"
                    ) from piece
                yield piece
        finally:
            closed.set()

    def fill(
        self, messages: Iterable[Mapping[str, str]], schema: Mapping[str, Any], seconds: float
    ) -> str:
        filled = {"name": "answer", "schema": dict(schema), "strict": True}
        form = {"type": "json_schema", "json_schema": filled}
        request: Any = {"response_format": form, "max_tokens": MOST_FILLED}
        return "".join(self._pieces(messages, seconds, request))

    def _read(
        self,
        messages: list[Mapping[str, str]],
        seconds: float,
        pieces: queue.SimpleQueue[str | Exception | None],
        closed: threading.Event,
        options: Any,
    ) -> None:
        """Put the pieces of a response into ``pieces``, then None, or the error that ended it."""
        request: Any = {"model": self.model, "messages": messages, "stream": True}
        try:
            with self._client.chat.completions.create(
                **request, **options, timeout=seconds
            ) as stream:
                for chunk in stream:
                    if closed.is_set():
                        return
                    text = chunk.choices[0].delta.content if chunk.choices else None
                    if text:
                        pieces.put(str(text))
        except Exception as error:  # whatever a service sends: the client raises errors of any type
            pieces.put(error)
        else:
            pieces.put(None)


class _Limited(httpx.SyncByteStream):
    """The body of a response, as long as it is small and in time."""

    def __init__(self, stream: httpx.SyncByteStream, seconds: float) -> None:
        self._stream = stream
        self._until = time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._stream:
            size += len(part)
            if size > LARGEST or time.monotonic() > self._until:
                raise httpx.ReadError(f"more than {LARGEST} bytes, or too late")
            yield part

    def close(self) -> None:
        self._stream.close()


def _limit(response: httpx.Response) -> None:
    """Limit the body of a response to a service's request, compressed as it is sent."""
    assert isinstance(response.stream, httpx.SyncByteStream)
    seconds = response.request.extensions["timeout"]["read"]
    response.stream = _Limited(response.stream, seconds)


class LocalWriter:
    """A causal model of transformers, in this process.

    tokens: most tokens of a response. timeout: seconds for what words one answer. languages: those
    that the model writes. setting: the key that errors
    name. In bf16 where the processor is fast at it.

    The keys and values of the last prompt are kept, so that of the next one only what differs from
    it is computed.
    """

    def __init__(
        self,
        folder: str | Path,
        tokens: int = 256,
        timeout: float = 20.0,
        languages: frozenset[str] = ENGLISH_ONLY,
        setting: str = "serve.writer",
    ) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from components.device import fast_at_bf16  # imports torch, which most endpoints never use

        self._setting = setting
        if not Path(folder).is_dir():
            raise WriterError(f"{setting}: there is no folder {folder}")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            # Half the memory, and a token takes half the time: it is that of reading the weights.
            kind = torch.bfloat16 if fast_at_bf16(torch.device("cpu")) else torch.float32
            self.model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=kind
            ).eval()
        except (OSError, ValueError) as error:
            raise WriterError(
                f"{setting}: {folder} holds no causal model that transformers can open: "
                f"{str(error).splitlines()[0]}"
            ) from error
        self.tokens, self.timeout, self.languages = tokens, timeout, languages
        self._control = _control_tokens(self.tokenizer)
        self._turn = threading.Lock()
        self._last: tuple[list[int], Any] | None = None  # tokens, and the cache of nearly all

    def prompt(self, messages: Iterable[Mapping[str, str]]) -> Any:
        """Return the model's inputs: by its chat template, without one as a plain dialogue.

        Control tokens in the messages' contents become blanks: a text cannot end its message and
        begin one in another role.
        """
        messages = [
            {"role": message["role"], "content": self._inert(message["content"])}
            for message in messages
        ]
        if self.tokenizer.chat_template:
            encoded = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            lines = [f"{message['role']}: {message['content']}" for message in messages]
            encoded = self.tokenizer("\n".join([*lines, "assistant:"]), return_tensors="pt")
        # A model with a fixed context length gets the newest tokens, minus those for the response.
        places = getattr(self.model.config, "max_position_embeddings", None)
        length = max(1, places - self.tokens) if places else encoded["input_ids"].shape[1]
        return {
            name: encoded[name][:, -length:].to(self.model.device)
            for name in ("input_ids", "attention_mask")
        }

    def _inputs(self, messages: Iterable[Mapping[str, str]]) -> Any:
        """Return the model's inputs.

        Raises:
            WriterError: the model's chat template refuses the messages, as one that knows no
                system role does.
        """
        try:
            return self.prompt(messages)
        except Exception as error:  # a template is a program of the model's author
            raise WriterError(f"{self._setting}: the model's chat template: {error}") from error

    def write(
        self, messages: Iterable[Mapping[str, str]], seconds: float
    ) -> Generator[str, None, None]:
        import torch
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        until = time.monotonic() + seconds
        closed = threading.Event()
        inputs = self._inputs(messages)
        streamer: Any = TextIteratorStreamer(
            self.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        failed: list[BaseException] = []

        def stop(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            ended = closed.is_set() or time.monotonic() > until
            return torch.full((len(ids),), ended, device=ids.device)

        def generate() -> None:
            try:
                # Two generations at once would each take twice as long.
                if not self._turn.acquire(timeout=seconds):
                    raise TimeoutError(f"busy for more than {seconds:.1f} s (writer_timeout)")
                try:
                    if not closed.is_set():
                        self._generate(inputs, streamer, StoppingCriteriaList([stop]))
                finally:
                    self._turn.release()
            except Exception as error:  # the consumer must get every error
                failed.append(error)
                streamer.end()

        threading.Thread(target=generate, name="writer", daemon=True).start()
        try:
            while (piece := self._next(streamer, until)) is not None:
                if piece:
                    yield piece
        finally:
            closed.set()
        if failed:
            raise WriterError(f"serve.writer: the model stopped: {failed[0]}") from failed[0]

    def fill(
        self, messages: Iterable[Mapping[str, str]], schema: Mapping[str, Any], seconds: float
    ) -> str:
        """Decode greedily among the tokens that the schema allows (llguidance; Willard and Louf
        2023)."""
        import torch
        from llguidance import LLMatcher
        from llguidance.torch import (
            allocate_token_bitmask,
            apply_token_bitmask_inplace,
            fill_next_token_bitmask,
        )
        from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteriaList

        until = time.monotonic() + seconds
        inputs = self._inputs(messages)
        n_prompt = inputs["input_ids"].shape[1]
        compact = {**schema, "x-guidance": {"whitespace_flexible": False}}
        try:
            grammar = LLMatcher.grammar_from_json_schema(json.dumps(compact))
            matcher = LLMatcher(self._guide, grammar)
        except Exception as error:  # of llguidance's parsers and of its view of a tokenizer
            raise WriterError(f"serve.writer: the model cannot fill a schema: {error}") from error
        mask = allocate_token_bitmask(1, self._guide.vocab_size)

        class Allowed(LogitsProcessor):  # type: ignore[misc]
            def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
                if ids.shape[1] > n_prompt:
                    matcher.consume_token(int(ids[0, -1]))
                fill_next_token_bitmask(matcher, mask, 0)
                apply_token_bitmask_inplace(scores, mask.to(scores.device))
                return scores

        def late(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            return torch.full((len(ids),), time.monotonic() > until, device=ids.device)

        if not self._turn.acquire(timeout=seconds):
            raise WriterError(f"serve.writer: busy for more than {seconds:.1f} s (writer_timeout)")
        try:
            written = self.model.generate(
                **inputs,
                max_new_tokens=MOST_FILLED,
                do_sample=False,
                pad_token_id=self.tokenizer.eos_token_id,
                logits_processor=LogitsProcessorList([Allowed()]),
                stopping_criteria=StoppingCriteriaList([late]),
            )
        except (RuntimeError, ValueError) as error:
            raise WriterError(f"{self._setting}: the model stopped: {error}") from error
        finally:
            self._turn.release()
        return str(self.tokenizer.decode(written[0, n_prompt:], skip_special_tokens=True))

    def write_all(
        self, conversations: Sequence[Iterable[Mapping[str, str]]], tokens: int
    ) -> list[str]:
        """Return the response to each conversation, of at most ``tokens`` tokens, generated
        greedily as one batch. What all prompts begin with is read once.

        Raises:
            WriterError: the model's chat template refuses the messages.
        """
        import torch
        from transformers import DynamicCache

        prompts = [self._inputs(one)["input_ids"][0].tolist() for one in conversations]
        if not prompts:
            return []
        first, shortest = prompts[0], min(map(len, prompts))
        same = min(shortest - 1, *(_same_beginning(first, one) for one in prompts))
        longest, padding = max(map(len, prompts)), self.tokenizer.eos_token_id or 0
        ids, mask = [], []
        for one in prompts:  # padded between what is the same and what differs
            blank = longest - len(one)
            ids.append(one[:same] + [padding] * blank + one[same:])
            mask.append([1] * same + [0] * blank + [1] * (len(one) - same))
        cache = DynamicCache(config=self.model.config)
        with self._turn, torch.inference_mode():
            if same:
                beginning = torch.tensor([first[:same]], device=self.model.device)
                self.model(input_ids=beginning, cache=cache, use_cache=True, logits_to_keep=1)
                cache.batch_repeat_interleave(len(prompts))
            written = self.model.generate(
                input_ids=torch.tensor(ids, device=self.model.device),
                attention_mask=torch.tensor(mask, device=self.model.device),
                cache=cache,
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=padding,
            )
        found: list[str] = self.tokenizer.batch_decode(
            written[:, longest:], skip_special_tokens=True
        )
        return found

    @cached_property
    def _guide(self) -> Any:
        """The tokenizer as llguidance takes it."""
        import llguidance.hf

        return llguidance.hf.from_tokenizer(self.tokenizer)

    def _next(self, streamer: Any, until: float) -> str | None:
        """Return the streamer's next piece, None at its end."""
        try:
            piece = streamer.text_queue.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise WriterError("serve.writer: the model took too long (writer_timeout)") from None
        return None if piece == streamer.stop_signal else str(piece)

    def _generate(self, inputs: Any, streamer: Any, stopping: Any) -> None:
        """Generate greedily, from the last prompt's cache as far as this one begins like it."""
        from transformers import DynamicCache

        prompt = inputs["input_ids"][0].tolist()
        last, self._last = self._last, None  # an error leaves none
        cache = None
        if last is not None:
            ids, cache = last
            same = min(_same_beginning(ids, prompt), len(prompt) - 1, cache.get_seq_length())
            cache.crop(same - cache.get_seq_length())
        if cache is None:
            cache = DynamicCache(config=self.model.config)
        written = self.model.generate(
            **inputs,
            cache=cache,
            streamer=streamer,
            max_new_tokens=self.tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.eos_token_id,
            stopping_criteria=stopping,
        )
        if not any(getattr(layer, "is_sliding", False) for layer in cache.layers):
            self._last = written[0].tolist(), cache

    def _inert(self, text: str) -> str:
        while (plain := self._control.sub(" ", text)) != text:
            text = plain
        return text


def _control_tokens(tokenizer: Any) -> re.Pattern[str]:
    """Return a pattern of the tokens that are set apart from text, as ``<|im_end|>``."""
    added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    longest_first = sorted({*added, *tokenizer.all_special_tokens}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)


def _same_beginning(one: list[int], other: list[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
