"""What one worker holds: the event store, the profiles, the model in service and its successor.

In: ``var/serving/champion.json`` (or ``models/hybrid``) and the event store. Out: answers. A
changed pointer is taken over without a restart: the new model is loaded beside the old one and
put in its place by one assignment, so every request is answered by one whole model.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from components.language.writer import open_writer
from components.settings import Settings
from serving import metrics
from serving.conversation import Conversation
from serving.engine import Answer, Ask, Engine, Filters
from serving.events import EventStore
from serving.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.schemas import ConversationRequest, RecommendRequest
from serving.search import Search

logger = logging.getLogger("bentoml.bowerbird")

PACKAGED = Path(__file__).resolve().parents[1]
"""The project's folder, or the Bento's source folder."""

IN_BENTO = (PACKAGED.parent / "bento.yaml").exists()

POINTER = Path("var/serving/champion.json")
UNREGISTERED = Path("models/hybrid")
LOOK_EVERY = 1.0
"""Seconds between two looks at the pointer."""


@dataclass(frozen=True)
class Champion:
    """Which model is to be served. stamp: changes when the folder's content does."""

    version: str
    folder: Path
    stamp: int


def find_champion(root: Path) -> Champion:
    """Return what the pointer file names, else ``models/hybrid`` as version "unregistered".

    Looked for in ``root``, then in the Bento that this code is in, if it is in one.

    Raises:
        FileNotFoundError: there is no model; ``make run`` makes one.
        ValueError: the pointer file is damaged.
    """
    for place in (root, PACKAGED) if IN_BENTO else (root,):
        pointer = place / POINTER
        version, folder = "unregistered", place / UNREGISTERED
        if pointer.exists():
            try:
                named = json.loads(pointer.read_text(encoding="utf-8"))
                version, folder = str(named["version"]), place / named["folder"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{POINTER} must hold version and folder: {error!r}") from error
        file = folder / "model.json"
        if file.exists():
            return Champion(version, folder, file.stat().st_mtime_ns)
        if pointer.exists():
            raise FileNotFoundError(f"{POINTER} names {folder}, where there is no model")
    raise FileNotFoundError(f"no model in {root / UNREGISTERED}: run `make run` first")


@dataclass(frozen=True)
class Loaded:
    """A model in memory with the profiles in its codes."""

    champion: Champion
    engine: Engine
    profiles: Profiles
    search: Search
    conversation: Conversation
    loaded_at: datetime

    @property
    def version(self) -> str:
        return self.champion.version


@dataclass(frozen=True)
class Question:
    """A recommend request with the limits applied. profile: key of the stored history."""

    request: RecommendRequest
    profile: str | None


class NotReady(RuntimeError):
    """No model is loaded yet."""


class Shop:
    """One worker's state; ``start`` loads the model in the background."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = root
        self.store = EventStore(settings.serve.events_url, root)
        self.live = LiveProfiles(self.store, settings.serve.max_history)
        self.writer = open_writer(settings.serve)
        self.loaded: Loaded | None = None
        self.load_error: str | None = None
        self._failed: Champion | None = None
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Begin to look for the champion."""
        self._watcher.start()

    def close(self) -> None:
        """Stop looking and write what waits."""
        self._stop.set()
        self._watcher.join(timeout=10)
        self.store.close()

    def current(self) -> Loaded:
        """Return the model in service.

        Raises:
            NotReady: none is loaded yet.
        """
        loaded = self.loaded
        if loaded is None:
            raise NotReady(self.load_error or "the model is being loaded")
        return loaded

    def max_batch(self) -> int:
        """Return how many asks the engine answers together."""
        return self.loaded.engine.max_batch if self.loaded else 1

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
                self.live.refresh_erasures()
                metrics.PENDING.set(self.store.pending)
            except Exception as error:  # the watch must outlive a bad model or a lost database
                logger.exception("the watch for a new model stumbled: %s", type(error).__name__)
            self._stop.wait(LOOK_EVERY)

    def look(self) -> None:
        """Take over the champion if it is another than the one in service."""
        champion: Champion | None = None
        try:
            champion = find_champion(self.root)
            if champion == self._failed or (self.loaded and champion == self.loaded.champion):
                return
            self.loaded = self._load(champion)
        except Exception as error:  # whatever is wrong with it, the old one goes on serving
            message = f"{type(error).__name__}: {error}"
            if message != self.load_error:
                logger.error("cannot load the model: %s", message)
                metrics.SWAPS.labels("failed").inc()
            self.load_error, self._failed = message, champion
            return
        self.load_error = self._failed = None
        metrics.SWAPS.labels("done").inc()
        metrics.LOADED.set_to_current_time()
        logger.info("serving model version %s", champion.version)

    def _load(self, champion: Champion) -> Loaded:
        engine = Engine.load(champion.folder, champion.version)
        base = BaseProfiles.load(champion.folder / "profiles.parquet", engine.items)
        profiles = Profiles(base, self.live, engine.items, self.settings.serve.max_history)
        table = engine.model.catalogue.table
        search = Search.load(champion.folder, table, engine.vectors)
        conversation = Conversation(engine, search)
        return Loaded(champion, engine, profiles, search, conversation, datetime.now(UTC))

    def answer(self, questions: Sequence[Question]) -> list[bytes]:
        """Return the JSON of a ``RecommendResponse`` for each question, one batch.

        Runs in the engine's thread. What was shown is logged as an impression.
        """
        loaded = self.current()
        engine, profiles = loaded.engine, loaded.profiles
        started = time.perf_counter()
        self.live.refresh()
        asks, unknown = [], []
        for question in questions:
            request = question.request
            history = profiles.history(request.user_id, question.profile, request.recent)
            exclude = [profiles.code(item) for item in request.exclude]
            named = [*request.recent, *request.exclude]
            unknown.append([item for item in named if profiles.code(item) < 0])
            asks.append(
                Ask(
                    history,
                    request.k,
                    filters_of(request),
                    self.settings.train.exclude_seen
                    if request.exclude_seen is None
                    else request.exclude_seen,
                    tuple(code for code in exclude if code >= 0),
                )
            )
        ranked = time.perf_counter()
        answers = engine.recommend(asks)
        explained = time.perf_counter()
        bodies = [
            self._body(loaded, *parts)
            for parts in zip(questions, asks, answers, unknown, strict=True)
        ]
        finished = time.perf_counter()
        metrics.STAGES.labels("profile").observe(ranked - started)
        metrics.STAGES.labels("rank").observe(explained - ranked)
        metrics.STAGES.labels("answer").observe(finished - explained)
        return bodies

    def _body(
        self, loaded: Loaded, question: Question, ask: Ask, answer: Answer, unknown: list[str]
    ) -> bytes:
        engine, request = loaded.engine, question.request
        reasons: Sequence[str | None] = [None] * len(answer.items)
        if request.reasons:
            codes = [loaded.profiles.code(item) for item in request.recent]
            reasons = engine.reasons(answer, ask.history, codes)
        items = [
            {**engine.describe(code), "score": score, "source": source, "reason": reason}
            for code, score, source, reason in zip(
                answer.items, answer.scores, answer.sources, reasons, strict=True
            )
        ]
        metrics.RECOMMENDATIONS.labels(answer.source).inc()
        for source in set(answer.sources):
            metrics.ITEMS.labels(source).inc(answer.sources.count(source))
        if not len(ask.history.items):
            metrics.COLD.inc()
        shown = [item["item_id"] for item in items]
        impression_id = self.log_shown(
            request, shown, answer.scores, [1.0] * len(items), loaded.version, answer.source
        )  # propensities of 1: nothing is drawn at random
        return orjson.dumps(
            {
                "items": items,
                "model_version": loaded.version,
                "unknown_items": list(dict.fromkeys(unknown)),
                "impression_id": impression_id,
                "source": answer.source,
                "history_length": len(ask.history.items),
            }
        )

    def log_shown(
        self,
        asker: RecommendRequest | ConversationRequest,
        item_ids: list[str],
        scores: list[float],
        propensities: list[float],
        version: str,
        source: str,
    ) -> str:
        """Log an impression, unless the queue is full, and return its id."""
        impression_id = uuid.uuid4().hex
        logged = self.store.log_impression(
            {
                "impression_id": impression_id,
                "user_id": asker.user_id,
                "session_id": asker.session_id,
                "item_ids": item_ids,
                "scores": scores,
                "propensities": propensities,
                "model_version": version,
                "source": source,
                "timestamp": time.time_ns() // 1000,
            }
        )
        if not logged:
            metrics.IMPRESSIONS_DROPPED.inc()
        return impression_id


def filters_of(request: object) -> Filters:
    """Return the engine's filters of a request that has them."""
    empty = Filters()
    return replace(empty, **{name: getattr(request, name) for name in vars(empty)})
