"""What one worker holds: the event store, the profiles, the models in service.

In: ``var/serving/champion.json`` (or ``models/hybrid``), ``challenger.json`` beside it while an
experiment needs it, and the event store. Out: the model that a shopper is served by. A changed
pointer is taken over without a restart: the new model is loaded beside the old one and put in its
place by one assignment, so every request is answered by one whole model. Products that came or
changed since are laid over it the same way.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from components.language.writer import open_writer
from components.settings import Settings
from serving import metrics
from serving.catalogue import TextVectors, overlaid_engine
from serving.conversation import Conversation
from serving.engine import Engine, Filters
from serving.events import EventStore
from serving.experiments import TREATMENT, arm_of
from serving.pages import PageMaker
from serving.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.ranking import Ranking
from serving.schemas import ConversationRequest, RecommendRequest, RerankRequest
from serving.search import Search

logger = logging.getLogger("bentoml.bowerbird")

PACKAGED = Path(__file__).resolve().parents[1]
"""The project's folder, or the Bento's source folder."""

IN_BENTO = (PACKAGED.parent / "bento.yaml").exists()

POINTER = Path("var/serving/champion.json")
CHALLENGER = Path("var/serving/challenger.json")
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
        named = _named(place, POINTER)
        if named is not None:
            return named
        file = place / UNREGISTERED / "model.json"
        if file.exists():
            return Champion("unregistered", place / UNREGISTERED, file.stat().st_mtime_ns)
    raise FileNotFoundError(f"no model in {root / UNREGISTERED}: run `make run` first")


def _named(place: Path, pointer: Path) -> Champion | None:
    """Return the model that a pointer file below ``place`` names, None without the file."""
    try:
        text = (place / pointer).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        named = json.loads(text)
        version, folder = str(named["version"]), place / named["folder"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{pointer} must hold version and folder: {error!r}") from error
    file = folder / "model.json"
    if not file.exists():
        raise FileNotFoundError(f"{pointer} names {folder}, where there is no model")
    return Champion(version, folder, file.stat().st_mtime_ns)


_random = random.Random()
"""Of the ids of impressions, seeded by the system: asking it for each would cost a switch of
threads each time."""

RANKING_SECONDS = 600
"""The longest that a model is waited for."""

_numbers = itertools.count()
"""Each model in memory has a number of its own, so that nothing kept of another is taken for it."""


@dataclass(frozen=True)
class Loaded:
    """A model in memory with the profiles in its codes.

    engine, profiles, search, maker: with the products that came since. trained: the engine without
    them. trained_number: of the model without them. covered: bool (items,), what was recommended.
    """

    champion: Champion
    engine: Engine
    profiles: Profiles
    search: Search
    conversation: Conversation
    loaded_at: datetime
    trained: Engine
    texts: TextVectors | None
    maker: PageMaker
    number: int
    trained_number: int
    covered: np.ndarray
    revision: int = 0

    @property
    def version(self) -> str:
        return self.champion.version


class NotReady(RuntimeError):
    """No model is loaded yet."""


class Shop:
    """One worker's state; ``start`` loads the model in the background.

    alone: there is no other worker beside this one.
    """

    def __init__(self, settings: Settings, root: Path, alone: bool = False) -> None:
        self.settings = settings
        self.root = root
        self.store = EventStore(settings.serve.events_url, root, alone=alone)
        self.live = LiveProfiles(self.store, settings.serve.max_history)
        self.writer = open_writer(settings.serve)
        self.ranking = Ranking(settings.serve)
        self.loaded: Loaded | None = None
        self.challenger: Loaded | None = None
        self.load_error: str | None = None
        self._failed: Champion | None = None
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)

    def start(self) -> None:
        """Begin to look for the champion."""
        self._watcher.start()

    def close(self) -> None:
        """Stop looking and write what waits."""
        self._stop.set()
        if self._watcher.is_alive():
            self._watcher.join(timeout=10)
        self.ranking.close()
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

    def served_to(self, profile: str | None) -> tuple[Loaded, str | None]:
        """Return the model for a shopper and the arm, None outside an experiment.

        Raises:
            NotReady: none is loaded yet.
        """
        loaded, experiment = self.current(), self.settings.serve.experiment
        if not experiment.name or profile is None:
            return loaded, None
        second = self.challenger if experiment.model == "challenger" else loaded
        if second is None:
            return loaded, None
        arm = arm_of(experiment, profile)
        return (second if arm == TREATMENT else loaded), arm

    def in_service(self) -> list[Loaded]:
        """Return the models in service."""
        return [one for one in (self.loaded, self.challenger) if one is not None]

    def was_exposed(self, profile: str | None) -> bool:
        """Return whether the shopper's exposure to the running experiment is surely kept."""
        return profile in self._exposed

    def expose(self, shoppers: Sequence[tuple[str, str, str]]) -> None:
        """Keep the exposure of (profile, arm, model version) each; durable on return."""
        new = [one for one in shoppers if one[0] not in self._exposed]
        if not new:
            return
        now = time.time_ns() // 1000
        columns = ("profile", "arm", "model_version")
        same = {"experiment": self.settings.serve.experiment.name, "timestamp": now}
        self.store.expose([{**dict(zip(columns, one, strict=True)), **same} for one in new])
        for profile, _, _ in new:
            self._exposed[profile] = None
        while len(self._exposed) > self.live.max_profiles:
            self._exposed.popitem(last=False)

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.ranking.watch()
                self.look()
                self.live.refresh_erasures()
                metrics.PENDING.set(self.store.pending)
                if self.loaded is not None:
                    metrics.COVERAGE.set(self.loaded.covered.mean())
            except Exception as error:  # the watch must outlive a bad model or a lost database
                logger.exception("the watch for a new model stumbled: %s", type(error).__name__)
            self._stop.wait(LOOK_EVERY)

    def look(self) -> None:
        """Take over the champion, the challenger and the products if they changed."""
        with self._looking:
            self._look_for_champion()
            self._look_for_challenger()
            revision = self.store.revision()
            if self.loaded is not None and self.loaded.revision != revision:
                self.loaded = self._with_items(self.loaded)
            if self.challenger is not None and self.challenger.revision != revision:
                self.challenger = self._with_items(self.challenger)
            served = self.in_service()
            self.ranking.keep_only({n for one in served for n in (one.number, one.trained_number)})

    def _look_for_champion(self) -> None:
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
        gc.freeze()  # a look through a million products' objects would hold everybody up
        metrics.SWAPS.labels("done").inc()
        metrics.LOADED.set_to_current_time()
        logger.info("serving model version %s", champion.version)

    def _look_for_challenger(self) -> None:
        experiment = self.settings.serve.experiment
        if not experiment.name or experiment.model != "challenger":
            return
        named = _named(self.root, CHALLENGER)
        if named is None or (self.loaded and named.version == self.loaded.version):
            self.challenger = None
        elif self.challenger is None or self.challenger.champion != named:
            self.challenger = self._load(named)
            logger.info("version %s is served to its share of shoppers", named.version)

    def _load(self, champion: Champion) -> Loaded:
        number = next(_numbers)
        ready = self.ranking.load(number, champion.folder, champion.version)
        engine = Engine.load(champion.folder, champion.version)
        base = BaseProfiles.load(champion.folder / "profiles.parquet", engine.items)
        profiles = Profiles(base, self.live, engine.items, self.settings.serve.max_history)
        table = engine.model.catalogue.table
        search = Search.load(champion.folder, table, engine.vectors)
        texts = None
        if engine.vectors is not None:
            texts = TextVectors(search, engine.vectors, search.encoder)
        loaded = Loaded(
            champion,
            engine,
            profiles,
            search,
            Conversation(engine, search),
            datetime.now(UTC),
            engine,
            texts,
            PageMaker(engine, self.settings.serve),
            number,
            number,
            np.zeros(engine.n_items, dtype=bool),
        )
        self._await(ready)
        return self._with_items(loaded) if self.store.revision() else loaded

    def _with_items(self, loaded: Loaded) -> Loaded:
        """Return the model with the products of the store laid over what it was trained with."""
        revision = self.store.revision()
        rows = self.store.items()
        engine, codes = overlaid_engine(loaded.trained, rows, loaded.texts)
        number = next(_numbers)
        new = None if engine.vectors is None else engine.vectors[loaded.trained.n_items :]
        ready = self.ranking.overlay(number, loaded.trained_number, rows, new)
        search = loaded.search.extended(engine.model.catalogue.table, codes, engine.vectors)
        max_history = self.settings.serve.max_history
        made = replace(
            loaded,
            engine=engine,
            profiles=Profiles(loaded.profiles.base, self.live, engine.items, max_history),
            search=search,
            conversation=Conversation(engine, search),
            maker=PageMaker(engine, self.settings.serve),
            revision=revision,
            number=number,
            covered=np.zeros(engine.n_items, dtype=bool),
        )
        self._await(ready)
        return made

    def _await(self, ready: Future[None] | None) -> None:
        """Wait until the ranking process has a model too, so that taking it over costs nobody."""
        if ready is None:
            return
        try:
            ready.result(RANKING_SECONDS)
        except Exception as error:  # a thread ranks meanwhile
            logger.error("the ranking process has no such model: %s", error)

    def log_shown(
        self,
        asker: ConversationRequest | RecommendRequest | RerankRequest,
        item_ids: list[str],
        scores: list[float],
        propensities: list[float],
        version: str,
        source: str,
    ) -> str:
        """Log an impression, unless the queue is full, and return its id."""
        lists = (orjson.dumps(one).decode() for one in (item_ids, scores, propensities))
        return self.log_json(asker, *lists, version, source)

    def log_json(
        self,
        asker: ConversationRequest | RecommendRequest | RerankRequest,
        item_ids: str,
        scores: str,
        propensities: str,
        version: str,
        source: str,
    ) -> str:
        """As ``log_shown``, the lists as JSON."""
        now = time.time_ns() // 1000
        # Ids that grow with time, as UUIDs of version 7: an index takes them at its end.
        impression_id = f"{now // 1000:012x}{_random.getrandbits(80):020x}"
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
                "timestamp": now,
            }
        )
        if not logged:
            metrics.IMPRESSIONS_DROPPED.inc()
        return impression_id


def filters_of(request: object) -> Filters:
    """Return the engine's filters of a request that has them."""
    empty = Filters()
    return replace(empty, **{name: getattr(request, name) for name in vars(empty)})
