"""Systems that answer needs, through one interface: a message and the last answer → an answer.

A further system (a tagger, a language model) is a class with ``name`` and ``reply``, and a line in
``open_systems``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from components.language.writer import FillsSchema
from components.understanding.model import UnderstandingModel
from serving.conversation.dialogue import Conversation
from serving.conversation.dialogue_state import ConversationState
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Filters
from serving.search import Search

K = 5
"""Products of an answer."""
PATIENCE = 90.0
"""Seconds for a language model to read a message."""


@dataclass(frozen=True)
class Answer:
    """What a system did, without its words.

    items: codes of the products shown, best first. asked: it asked back what is looked for.
    relaxed: it said that wishes were given up. state: of the system, for the next message.
    """

    items: list[int] = field(default_factory=list)
    asked: bool = False
    relaxed: bool = False
    state: object = None


class System(Protocol):
    """Something that answers shoppers."""

    name: str

    def reply(self, message: str, before: Answer | None) -> Answer:
        """Return the answer to a message. before: the last answer, None to begin."""
        ...


class PlainSearch:
    """Text search for all messages of the conversation, in one query."""

    def __init__(self, name: str, search: Search, engine: Engine) -> None:
        self.name = name
        self._search = search
        self._mask = engine.mask(Filters())

    def reply(self, message: str, before: Answer | None) -> Answer:
        query = f"{before.state} {message}" if before else message
        return Answer(self._search.find(query, self._mask)[0][:K].tolist(), state=query)


class Dialogue:
    """``serving/conversation`` with an unknown shopper, as the endpoint calls it."""

    def __init__(self, name: str, conversation: Conversation) -> None:
        self.name = name
        self._conversation = conversation
        self._nobody = History(np.empty(0, np.int32), np.empty(0, np.int64))

    def reply(self, message: str, before: Answer | None) -> Answer:
        state = before.state if before else None
        assert state is None or isinstance(state, ConversationState)
        reply = self._conversation.reply(message, state, self._nobody, K)
        return Answer(reply.items, reply.question is not None, bool(reply.relaxed), reply.state)


class Patient:
    """A language model that has PATIENCE seconds for a message. seconds: that each took."""

    def __init__(self, model: FillsSchema) -> None:
        self._model = model
        self.seconds: list[float] = []

    def fill(
        self, messages: Iterable[Mapping[str, str]], schema: Mapping[str, Any], seconds: float
    ) -> str:
        began = time.perf_counter()
        try:
            return self._model.fill(messages, schema, PATIENCE)
        finally:
            self.seconds.append(time.perf_counter() - began)


def open_systems(
    folder: Path,
    engine: Engine,
    understanding: Path | None,
    writer: FillsSchema | None = None,
) -> list[System]:
    """Return the systems over the catalogue of a model folder.

    understanding: folder of the stage of that name, None for the grammar alone. writer: a language
    model that reads messages too.
    """
    table = engine.model.catalogue.table
    whole = Search.load(folder, table, engine.vectors)
    systems: list[System] = [PlainSearch("words", Search(table), engine)]
    if whole.encoder is not None:
        systems.append(PlainSearch("words and meaning", whole, engine))
    systems.append(Dialogue("grammar", Conversation(engine, whole)))
    if understanding is not None:
        model = UnderstandingModel.load(understanding)
        rates = {"EUR": 0.86}  # as benchmarks/needs/development.yaml says
        systems.append(Dialogue("tagger", Conversation(engine, whole, model, rates=rates)))
        if writer is not None:
            talk = Conversation(engine, whole, model, rates=rates, language_model=writer)
            systems.append(Dialogue("language model", talk))
    return systems
