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
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import orjson

from components.alerts import ALERTS, raise_once
from components.language.writer import open_writer
from components.manifest import MANIFEST
from components.recommenders.two_stage.hybrid import OPTIONAL
from components.settings import Settings
from serving import PACKAGED, metrics
from serving.api.auth import Auth
from serving.api.reports import read_json
from serving.api.schemas import ConversationRequest, RecommendRequest, RerankRequest
from serving.conversation.dialogue import Conversation
from serving.events.catalogue_table import catalogue_revision, read_items
from serving.events.errors import StoreError
from serving.events.exposures import record_exposures
from serving.events.quotas import ExposureQuotas, ImpressionQuotas
from serving.events.retention import Retention
from serving.events.store import EventStore
from serving.events.tables import profile_of
from serving.experiments import TREATMENT, arm_of
from serving.models.catalogue import TextVectors, overlaid_engine
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.recommend.engine import Engine, Filters
from serving.recommend.pipeline import PageMaker
from serving.recommend.worker import Ranking
from serving.search import Search, open_encoder

logger = logging.getLogger("bentoml.bowerbird")

IN_BENTO = (PACKAGED.parent / "bento.yaml").exists()

POINTER = Path("var/serving/champion.json")
CHALLENGER = Path("var/serving/challenger.json")
UNREGISTERED = Path("models/hybrid")
PROFILES = Path("var/serving/profiles")
UNREGISTERED_PROFILES = Path("models/profiles/profiles.parquet")
MODELS = Path("var/serving/models")
VERSIONS = Path("var/serving/versions.json")
LOOK_EVERY = 1.0
"""Seconds between two looks at the pointer."""
RETRY = 60.0
"""Seconds until a model or products that could not be taken over are tried again."""


@dataclass(frozen=True)
class Champion:
    """Which model is to be served. stamp: changes when the folder's content does."""

    version: str
    folder: Path
    stamp: int


def find_champion(root: Path) -> Champion:
    """Return what the pointer file names, else ``models/hybrid`` as version "unregistered".

    Looked for in ``root``, then in the Bento that this code is in, if it is in one. A model that
    no registry judged is served only where nothing was ever registered.

    Raises:
        FileNotFoundError: there is no model (``make run`` makes one), or the pointer file is gone.
        ValueError: the pointer file is damaged.
    """
    for place in (root, PACKAGED) if IN_BENTO else (root,):
        named = _named(place, POINTER)
        if named is not None:
            return named
        if versions := registered(place):
            raise FileNotFoundError(
                f"{place / POINTER} is missing although versions are registered "
                f"({', '.join(versions)}): name the one to serve with `bowerbird promote VERSION`, "
                "or go back with `bowerbird rollback`"
            )
        if (place / UNREGISTERED / "model.json").exists():
            return Champion("unregistered", place / UNREGISTERED, _stamp(place / UNREGISTERED))
    raise FileNotFoundError(f"no model in {root / UNREGISTERED}: run `make run` first")


def registered(place: Path) -> list[str]:
    """Return the versions that were registered: listed by the registry, or with a folder."""
    found = {one["version"] for one in listed(place)}
    found |= {one.name for one in (place / MODELS).glob("*") if one.name.isdecimal()}
    return sorted(found, key=lambda version: (len(version), version))


def listed(place: Path) -> list[dict[str, Any]]:
    """Return the versions as the registry last wrote them down, newest first."""
    found = read_json(place / VERSIONS)
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("version"), str)]


def previous_champion(root: Path) -> Champion | None:
    """Return the champion before the present one, None without one that has a folder."""
    for one in listed(root):
        folder = root / MODELS / one["version"]
        if "previous" in one.get("aliases", []) and folder.is_dir():
            return Champion(one["version"], folder, _stamp(folder))
    return None


def _stamp(folder: Path) -> int:
    """Return when a model folder was finished: its manifest is written last; 0 without one."""
    try:
        return (folder / MANIFEST).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _named(place: Path, pointer: Path) -> Champion | None:
    """Return the model that a pointer file below ``place`` names, None without the file."""
    try:
        text = (place / pointer).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        named = json.loads(text)
        version, folder = str(named["version"]), PurePosixPath(named["folder"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{pointer} must hold version and folder: {error!r}") from error
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"{pointer} names {folder}, which is not a folder below {place}")
    if not (place / folder / "model.json").exists():
        raise FileNotFoundError(f"{pointer} names {place / folder}, where there is no model")
    return Champion(version, place / folder, _stamp(place / folder))


def profiles_of(root: Path, champion: Champion) -> Path | None:
    """Return the file of the users' histories for a model, None if there is none.

    They never lie in a model folder, a Bento or an image, but in those of earlier versions.
    """
    for file in (
        root / PROFILES / f"{champion.version}.parquet",
        root / UNREGISTERED_PROFILES,
        champion.folder / "profiles.parquet",
    ):
        if file.exists():
            return file
    return None


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

    def __init__(self, settings: Settings, root: Path, auth: Auth, alone: bool = False) -> None:
        self.settings = settings
        self.root = root
        self.auth = auth
        self.store = EventStore(
            settings.serve.events_url.get_secret_value(),
            root,
            single_process=alone,
            retention=Retention(settings.serve.retention),
            start_without_database=True,
            on_dropped=lambda why, n: metrics.IMPRESSIONS_DROPPED.labels(why).inc(n),
        )
        self.quotas = ImpressionQuotas(
            settings.serve.max_impressions,
            settings.serve.max_anonymous_impressions,
            has_key=auth.keys.api is not None,
        )
        self.exposure_quotas = ExposureQuotas(settings.serve.experiment.max_client_shoppers)
        self.live = LiveProfiles(self.store, settings.serve.max_history)
        self.writer = open_writer(settings.serve)
        self.ranking = Ranking(settings.serve)
        self.loaded: Loaded | None = None
        self.challenger: Loaded | None = None
        self.load_error: str | None = None
        self.problems: dict[str, str] = {}
        """Part → what is wrong with it: served without, or with an older one."""
        self._failed: tuple[Champion | None, float] = (None, 0.0)
        self._failed_challenger: tuple[Champion | None, float] = (None, 0.0)
        self._failed_items: tuple[int, float] = (-1, 0.0)
        self._stumbled = ""
        self._known: dict[str, tuple[Any, datetime]] = {}
        self._exposed: OrderedDict[str, None] = OrderedDict()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="champion", daemon=True)

    def load(self) -> None:
        """Load the champion, or the one before where it is damaged.

        Raises:
            NotReady: there is no model that can be served.
        """
        self.ranking.watch()
        self.look()
        self.current()

    def start(self) -> None:
        """Begin to watch for another champion."""
        self._watcher.start()

    def problem(self, part: str, what: str | None) -> None:
        """Note what is wrong with a part, None: nothing; /readyz and /metrics show it.

        what: one sentence without paths or ids, as /readyz needs no key.
        """
        if what is None:
            self.problems.pop(part, None)
        elif self.problems.get(part) != what:
            self.problems[part] = what
            logger.error("%s: %s", part, what)
        metrics.DEGRADED.labels(part).set(what is not None)

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
        rows = [{**dict(zip(columns, one, strict=True)), **same} for one in new]
        record_exposures(self.store.database, rows)
        for profile, _, _ in new:
            self._exposed[profile] = None
        while len(self._exposed) > self.live.max_profiles:
            self._exposed.popitem(last=False)

    def known(self, what: str, read: Callable[[], Any]) -> tuple[Any | None, str | None]:
        """Return what ``read`` returns of the store, and no note; while the store cannot be read
        what it returned the last time, None if it never did, and a note that says so."""
        try:
            found = read()
        except StoreError as error:
            found, moment = self._known.get(what, (None, None))
            then = "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
            return found, f"{error}; last read: {then}"
        self._known[what] = found, datetime.now(UTC)
        return found, None

    def store_problem(self) -> str | None:
        """Return why impressions or events are not kept, or not read; None when all is well.

        Without names of files or hosts: /readyz shows it to anybody.
        """
        store, retention = self.store, self.store.retention
        if store.database.is_down:
            since = datetime.fromtimestamp(store.database.breaker.since, UTC)
            return f"event store unreachable since {since:%Y-%m-%dT%H:%M:%SZ}"
        if retention is not None and retention.is_full:
            return f"impressions are not kept: {retention.why}"
        if store.write_problem is not None:
            return "the event store cannot be written: see the log"
        return None

    def _watch(self) -> None:
        while not self._stop.is_set():
            try:
                self.ranking.watch()
                self.look()
                self.forget_erased()
                self._measure_store()
                if self.loaded is not None:
                    metrics.COVERAGE.set(self.loaded.covered.mean())
            except StoreError:
                self._measure_store()  # it was logged when it went away
            except Exception as error:  # the watch must outlive a bad model
                said = f"{type(error).__name__}: {error}"
                if said != self._stumbled:
                    logger.exception("the watch for a new model stumbled: %s", type(error).__name__)
                self._stumbled = said
            self._stop.wait(LOOK_EVERY)

    def forget_erased(self) -> None:
        """Remove from memory whom any worker erased since the last call."""
        if self.live.refresh_erasures():
            self._exposed.clear()
            for loaded in self.in_service():
                loaded.profiles.base.forget(self.live.erased_at)

    def _measure_store(self) -> None:
        store = self.store
        metrics.PENDING.set(store.pending)
        metrics.STORE_DOWN.set(store.database.is_down)
        if store.retention is not None:
            metrics.STORE_BYTES.set(store.retention.used)
        self.problem("event store", self.store_problem())

    def look(self) -> None:
        """Take over the champion, the challenger and the products if they changed."""
        with self._looking:
            self._look_for_champion()
            self._look_for_challenger()
            if self.loaded is not None:
                self.loaded = self._with_new_items(self.loaded)
            if self.challenger is not None:
                self.challenger = self._with_new_items(self.challenger)
            served = self.in_service()
            self.ranking.keep_only({n for one in served for n in (one.number, one.trained_number)})

    def _look_for_champion(self) -> None:
        champion: Champion | None = None
        try:
            champion = find_champion(self.root)
            if self.loaded is None or champion != self.loaded.champion:
                failed, retry_at = self._failed
                if champion == failed and time.monotonic() < retry_at:
                    return
                self._take_over(champion)
        except Exception as error:  # whatever is wrong with it, the old one goes on serving
            self._failed = champion, time.monotonic() + RETRY
            self._refused(champion, f"{type(error).__name__}: {error}")
            return
        self.load_error, self._failed = None, (None, 0.0)
        self.problem("model", None)

    def _take_over(self, champion: Champion) -> None:
        self.loaded = self._load(champion)
        gc.freeze()  # a look through a million products' objects would hold everybody up
        metrics.SWAPS.labels("done").inc()
        metrics.LOADED.set_to_current_time()
        logger.info("serving model version %s", champion.version)

    def _refused(self, champion: Champion | None, why: str) -> None:
        """Go on with the model in service, else with the champion before, and raise an alert."""
        if why != self.load_error:
            logger.error("cannot load the model: %s", why)
            metrics.SWAPS.labels("failed").inc()
        if self.loaded is None and (previous := previous_champion(self.root)) is not None:
            try:
                self._take_over(previous)
            except Exception as error:
                why += f"; the champion before, version {previous.version}: {error}"
        if self.loaded is not None:
            wanted = "the champion" if champion is None else f"version {champion.version}"
            serving = f"serving version {self.loaded.version}"
            self.problem("model", f"{wanted} cannot be loaded, {serving}: see the log")
            if why != self.load_error:
                alert = {"kind": "model", "reasons": [f"{serving}: {why}"]}
                try:
                    raise_once(alert, self.root / ALERTS, self.settings.monitor.webhook)
                except OSError as error:  # a full disk: the model before is served all the same
                    logger.error("the alert was not written: %s", error.strerror)
        self.load_error = why

    def _look_for_challenger(self) -> None:
        experiment = self.settings.serve.experiment
        if not experiment.name or experiment.model != "challenger":
            return
        named: Champion | None = None
        try:
            named = _named(self.root, CHALLENGER)
            failed, retry_at = self._failed_challenger
            if named is None or (self.loaded and named.version == self.loaded.version):
                self.challenger = None
            elif self.challenger is None or self.challenger.champion != named:
                if named == failed and time.monotonic() < retry_at:
                    return
                self.challenger = self._load(named)
                logger.info("version %s is served to its share of shoppers", named.version)
        except Exception as error:  # the champion is served to all, or the challenger before
            self._failed_challenger = named, time.monotonic() + RETRY
            if "challenger" not in self.problems:
                logger.error("cannot load the challenger: %s: %s", type(error).__name__, error)
            self.problem("challenger", "it cannot be loaded: see the log")
            return
        self.problem("challenger", None)

    def _load(self, champion: Champion) -> Loaded:
        number = next(_numbers)
        ready = self.ranking.load(number, champion.folder, champion.version)
        engine = Engine.load(champion.folder, champion.version)
        damaged = dict(engine.model.damaged)
        damaged.pop("profiles.parquet", None)  # of earlier versions; an erasure rewrites it
        base = self._histories(champion, engine)
        profiles = Profiles(base, self.live, engine.items, self.settings.serve.max_history)
        table = engine.model.catalogue.table
        encoder = None
        if engine.vectors is not None and "encoder" not in damaged:
            try:
                encoder = open_encoder(champion.folder)
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                damaged["encoder"] = f"it cannot be read: {error}"
        for part, what in damaged.items():
            logger.error("%s of version %s is damaged: %s", part, champion.version, what)
        search = Search(table, engine.vectors, encoder)
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
        said = f"damaged in the folder of version {champion.version}, served without it"
        for part in OPTIONAL:
            self.problem(part, said if part in damaged else None)
        return self._with_new_items(loaded)

    def _histories(self, champion: Champion, engine: Engine) -> BaseProfiles:
        """Return the users' histories for a model, none where there is no file or a damaged one."""
        erasures = self.live.erasures
        erased_at = self.live.erased_at if erasures is not None and erasures.times else None
        file, problem = profiles_of(self.root, champion), None
        if file is None:
            logger.warning(
                "no users' histories for version %s: mount them as %s below %s (docs/privacy.md)",
                champion.version,
                PROFILES / f"{champion.version}.parquet",
                self.root,
            )
        else:
            try:
                base = BaseProfiles.load(file, engine.items, erased_at)
                self.problem("profiles", None)
                return base
            except (OSError, ValueError, KeyError) as error:
                logger.error("cannot read the users' histories in %s: %s", file, error)
                problem = f"users' histories of version {champion.version} cannot be read: see log"
        self.problem("profiles", problem)
        return BaseProfiles.empty(engine.items, engine.model.trained_until or 0)

    def _with_new_items(self, loaded: Loaded) -> Loaded:
        """Return the model with the store's products if they changed, without them if bad."""
        revision = -1
        try:
            revision = catalogue_revision(self.store.database)
            failed, retry_at = self._failed_items
            if loaded.revision == revision:
                made = loaded
            elif failed == revision and time.monotonic() < retry_at:
                return loaded
            else:
                made = self._with_items(loaded)
        except StoreError:  # away: they are looked for again every second
            return loaded
        except Exception as error:  # a model without the newest products is better than none
            self._failed_items = revision, time.monotonic() + RETRY
            if "products" not in self.problems:
                logger.exception("products not taken in: %s", type(error).__name__)
            self.problem("products", "the newest of PUT /items cannot be taken in: see the log")
            return loaded
        if "products" in self.problems:
            self.problem("products", None)
        return made

    def _with_items(self, loaded: Loaded) -> Loaded:
        """Return the model with the products of the store laid over what it was trained with."""
        revision = catalogue_revision(self.store.database)
        rows = read_items(self.store.database)
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
        client: str,
        logged: bool = True,
    ) -> str:
        """Log an impression, unless it is dropped, and return its id.

        client: of the ``Caller``; an impression of nobody who is known is the client's. logged:
        false only makes the id.
        """
        lists = (orjson.dumps(one).decode() for one in (item_ids, scores, propensities))
        ids, scored, chances = lists
        return self.log_json(asker, ids, scored, chances, version, source, client, logged)

    def log_json(
        self,
        asker: ConversationRequest | RecommendRequest | RerankRequest,
        item_ids: str,
        scores: str,
        propensities: str,
        version: str,
        source: str,
        client: str,
        logged: bool = True,
    ) -> str:
        """As ``log_shown``, the lists as JSON."""
        now = time.time_ns() // 1000
        # Ids that grow with time, as UUIDs of version 7: an index takes them at its end.
        impression_id = self.auth.impression_id(
            f"{now // 1000:012x}{_random.getrandbits(80):020x}",
            profile_of(asker.user_id, asker.session_id),
            client,
        )
        if not logged:
            return impression_id
        self.store.log_impression(
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
        return impression_id


def filters_of(request: object) -> Filters:
    """Return the engine's filters of a request that has them."""
    empty = Filters()
    return replace(empty, **{name: getattr(request, name) for name in vars(empty)})
