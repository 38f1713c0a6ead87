"""Text generation: an optional language model that words the responses of the conversation.

In: chat messages ``{"role": "system" | "user" | "assistant", "content": text}``. Out: the response
as a stream. ``serve.writer`` of params.yaml selects the model:

    ""                         none: no model is loaded
    smollm2-135m-instruct      a small model of English that a package carries (``packaged.py``)
    models/language/writer     a folder with a causal model that ``save_pretrained`` wrote
    http://127.0.0.1:8000/v1   a service with the OpenAI chat completions protocol; the model's
                               name is in ``serve.writer_model`` and the key, if it needs one, in
                               the environment variable BOWERBIRD_WRITER_KEY
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

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
    def write(self, messages: Iterable[Mapping[str, str]]) -> Iterator[str]:
        """Yield the response to ``messages`` in pieces, as it is generated.

        Closing the iterator stops the generation.

        Raises:
            WriterError: no response within ``serve.writer_timeout`` seconds, or an error. Pieces
                may have been yielded before.
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
    if named.startswith(("http://", "https://")):
        if not settings.writer_model:
            raise WriterError(
                f"serve.writer_model: name the model that {settings.writer} shall answer with"
            )
        return RemoteWriter(named, settings.writer_model, *limits)
    if named in WRITERS:
        try:
            return LocalWriter(packaged_folder(named, root), *limits)
        except MissingPackageError as error:
            raise WriterError(f"serve.writer: {error}") from error
    return LocalWriter(named, *limits)


class RemoteWriter:
    """A service with the OpenAI chat completions protocol, streaming.

    tokens: most tokens of a response. timeout: seconds for the whole response.
    """

    def __init__(self, address: str, model: str, tokens: int = 256, timeout: float = 20.0) -> None:
        from openai import OpenAI  # takes 1 to 2 s to import, so only if a service is configured

        keep_urls_out_of_logs()
        self.model, self.tokens, self.timeout = model, tokens, timeout
        self.address = str(Credential(address))
        """The address for messages, with its credentials masked."""
        # Local services need no key, but the client requires one.
        self._key = key = os.environ.get(KEY) or "none"
        self._client = OpenAI(base_url=address, api_key=key, timeout=timeout, max_retries=1)

    def write(self, messages: Iterable[Mapping[str, str]]) -> Iterator[str]:
        from openai import OpenAIError

        until = time.monotonic() + self.timeout
        request: Any = {"model": self.model, "messages": list(messages), "stream": True}
        try:
            with self._client.chat.completions.create(**request, max_tokens=self.tokens) as stream:
                for chunk in stream:
                    # The client's timeout applies to each read: a slow stream would never reach it.
                    if time.monotonic() > until:
                        raise WriterError(self._late())
                    if chunk.choices and chunk.choices[0].delta.content:
                        yield chunk.choices[0].delta.content
        except OpenAIError as error:
            # Services quote the request in their errors.
            message = mask_credentials(re.sub(rf"\b{re.escape(self._key)}\b", MASK, str(error)))
            raise WriterError(
                f"serve.writer: {self.address} did not answer with {self.model}: "
                f"{type(error).__name__}: {message:.200}"
            ) from error

    def _late(self) -> str:
        return f"serve.writer: {self.address} took more than {self.timeout:g} s (writer_timeout)"


class LocalWriter:
    """A causal model of transformers, in this process.

    tokens: most tokens of a response. timeout: seconds for the whole response, which is cut off
    then.
    """

    def __init__(self, folder: str | Path, tokens: int = 256, timeout: float = 20.0) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not Path(folder).is_dir():
            raise WriterError(f"serve.writer: there is no folder {folder}")
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise WriterError(
                f"serve.writer: {folder} holds no causal model that transformers can open: "
                f"{str(error).splitlines()[0]}"
            ) from error
        self.tokens, self.timeout = tokens, timeout
        self._turn = threading.Lock()

    def prompt(self, messages: Iterable[Mapping[str, str]]) -> Any:
        """Return the model's inputs: by its chat template, without one as a plain dialogue."""
        messages = [dict(message) for message in messages]
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

    def write(self, messages: Iterable[Mapping[str, str]]) -> Iterator[str]:
        import torch
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        closed = threading.Event()
        inputs = self.prompt(messages)
        streamer: Any = TextIteratorStreamer(
            self.tokenizer, skip_prompt=True, skip_special_tokens=True
        )
        failed: list[BaseException] = []

        def stop(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
            return torch.full((len(ids),), closed.is_set(), device=ids.device)

        def generate() -> None:
            try:
                # Two generations at once would each take twice as long.
                if not self._turn.acquire(timeout=self.timeout):
                    raise TimeoutError(f"busy for more than {self.timeout:g} s (writer_timeout)")
                try:
                    self.model.generate(
                        **inputs,
                        streamer=streamer,
                        max_new_tokens=self.tokens,
                        max_time=self.timeout,
                        do_sample=False,
                        pad_token_id=self.tokenizer.eos_token_id,
                        stopping_criteria=StoppingCriteriaList([stop]),
                    )
                finally:
                    self._turn.release()
            except Exception as error:  # the consumer must get every error
                failed.append(error)
                streamer.end()

        threading.Thread(target=generate, name="writer", daemon=True).start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            closed.set()
        if failed:
            raise WriterError(f"serve.writer: the model stopped: {failed[0]}") from failed[0]
