"""Lists for all customers of a segment, as the endpoint would answer them, with impressions.

In: a model version, its users' histories, the event store and the wish of a ``Plan``. Out: rows in
an ``Output``.

First all lists are ranked, in parts that are kept in ``var/recommend_all``: a run that was killed
goes on with the parts that are missing. Then each part is logged as impressions and written, and at
the end the output is published. So a list that anyone can see has a durable impression, and what
follows it is attributed as for a list of the endpoint. Its source is "batch", whatever made its
items: monitoring does not expect as many clicks as on a page.

Customers are served as outside A/B tests and canaries: a list that may never be opened is no
exposure. The holdout (``serve.uplift``) gets popular products here too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from components.data.attributes import shown, types
from components.data.event_kinds import EventKinds
from components.data.schema import BATCH
from components.file_erasure import write_table
from components.file_lock import file_lock
from components.json_files import write_json
from components.progress import Progress, progress
from components.settings import Serve, Settings
from serving.arms import POPULAR, Exposure, holdout_name, holdout_of
from serving.batch.customers import Customers, Histories, Segment, customers
from serving.batch.output import Output, OutputError
from serving.batch.ranker import OpensEngine, Ranker, local
from serving.batch.spark import spark
from serving.events.bulk_insert import insert_new
from serving.events.catalogue_table import catalogue_revision, read_items
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.event_erasure import ErasureSnapshot, last_erasure, read_erasures
from serving.events.exposures import experiment_names, record_exposures
from serving.events.retention import MARGIN, used_bytes
from serving.events.store import EventStore, open_store
from serving.events.tables import IMPRESSIONS
from serving.json_files import read_json
from serving.languages import AUTO, SOURCE, languages
from serving.models.catalogue import overlaid_engine
from serving.models.loader import open_search
from serving.models.versions import ModelVersion, find_served, profiles_file, registered_versions
from serving.profiles.profiles import LiveProfiles, Profiles
from serving.recommend.coding import coded
from serving.recommend.engine import Engine
from serving.recommend.exploration import draw
from serving.recommend.impressions import new_id
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Request, Response, Shopper

WORK = Path("var/recommend_all")
RESUME_SECONDS = 24 * 3600
"""Age up to which a killed run is resumed; its histories are older otherwise than they need be."""
ROWS_PER_COMMIT = 500
"""Impressions of one transaction: the endpoint's events wait no longer than one takes."""
ROW_BYTES = 400
"""Of an impression in the event store besides its lists, with its index entries; rounded up."""
OF_CUSTOMER = ("user_id", "session_id", "recent", "page", "page_items")
"""Fields of ``POST /recommend`` that belong to one shopper."""
ENGINES: dict[str, OpensEngine] = {"local": local, "spark": spark}

PART = pa.schema(
    [
        ("user_id", pa.string()),
        ("impression_id", pa.string()),
        ("made_at", pa.int64()),  # microseconds since 1970, when the history was read
        ("experiment", pa.string()),  # of the holdout, null outside it
        ("arm", pa.string()),
        ("cold", pa.bool_()),
        *((name, pa.string()) for name in ("item_ids", "scores", "propensities", "items")),  # JSON
    ]
)


@dataclass(frozen=True)
class Plan:
    """Which lists are made.

    request: what ``POST /recommend`` would be sent for each customer. language: of the reasons.
    logged: the lists will be shown, so they are logged as impressions, and the holdout gets popular
    products.
    """

    request: RecommendRequest
    segment: Segment
    language: str = SOURCE
    logged: bool = True


def plan_of(
    settings: Settings,
    k: int,
    request: str,
    segment: Segment,
    code: str | None = None,
    logged: bool = True,
) -> Plan:
    """Return the plan of the command's options.

    request: further fields of ``POST /recommend``, as a JSON object. code: of the language; None:
    ``serve.language``, English where it is "auto".

    Raises:
        ValueError: a field is wrong, or there is no such language.
    """
    try:
        fields = json.loads(request)
    except ValueError as error:
        raise ValueError(f"--request is no JSON ({error})") from error
    if not isinstance(fields, dict):
        raise ValueError("--request must be a JSON object, such as '{\"max_price\": 20}'")
    if theirs := [name for name in (*OF_CUSTOMER, "k") if name in fields]:
        raise ValueError(f"--request has {theirs[0]}: the lists are for all customers, -k sets k")
    try:
        body = RecommendRequest(**fields, k=k)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ValueError(f"--request: {'; '.join(wrong)}") from error
    if k > settings.serve.max_k:
        raise ValueError(f"-k {k}: serve.max_k is {settings.serve.max_k}")
    body.check_attributes(types(settings.ingest.items))
    fixed = settings.serve.language
    code = code or (SOURCE if fixed == AUTO else fixed)
    if code not in languages():
        known = ", ".join(sorted(languages()))
        raise ValueError(f"--language: no catalogue of {code!r}; choose one of {known}")
    return Plan(body, segment, code, logged)


def recommend_all(
    settings: Settings,
    root: Path,
    plan: Plan,
    output: Output,
    sign: Callable[[str, str | None, str], str],
    has_api_key: bool = False,
) -> dict[str, Any]:
    """Make the lists, publish them and return their manifest.

    sign: makes an impression's id, see ``ImpressionLog``. has_api_key: the endpoint has an API key,
    so it has a holdout.

    Raises:
        ValueError: the plan names an attribute that is not declared, the lists cannot be written
            there, or the histories are damaged.
        FileNotFoundError: there is no model.
        StoreError: the event store failed; run again, finished parts are kept.
    """
    output.check()
    source, _ = find_served(root)
    folder = root / WORK / hashlib.sha256(output.place.encode()).hexdigest()[:16]
    with file_lock(folder.with_suffix(".lock"), wait=False) as mine:
        if not mine:
            raise OutputError(f"another run makes the lists of {output.place} now")
        with open_store(settings.serve.events_url.get_secret_value(), root) as store:
            run = _Run(settings, root, plan, output, store, source, folder, sign, has_api_key)
            run.rank()
            manifest = run.publish()
        shutil.rmtree(folder)
    return manifest


class _Run:
    """One run: what it was started with, and its finished parts."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        plan: Plan,
        output: Output,
        store: EventStore,
        source: ModelVersion,
        folder: Path,
        sign: Callable[[str, str | None, str], str],
        has_api_key: bool,
    ) -> None:
        self._settings = settings
        self._root = root
        self._plan = plan
        self._output = output
        self._store = store
        self._database: Database = store.database
        self._source = source
        self._folder = folder
        self._sign = sign
        self._random = np.random.default_rng()
        uplift = settings.serve.uplift
        period = holdout_name(uplift)
        # The key may be set for the endpoint alone; then the store shows that it has a holdout.
        self._has_holdout = bool(
            plan.logged
            and uplift.share > 0
            and (has_api_key or experiment_names(store.database, period))
        )
        self._revision = catalogue_revision(self._database)
        self._ranker, self._engine = self._load()
        vocabulary = self._engine.model.attributes.users
        file = profiles_file(root, source)
        self._histories = Histories(file, self._engine.items, vocabulary)
        if file is None:
            self._histories.end = self._engine.model.trained_until or 0
        self._live = LiveProfiles(
            store, settings.serve.max_history, EventKinds.of(settings.preprocess)
        )
        self._profiles = Profiles(
            self._histories.of(pa.array([], pa.string())),
            *(self._live, self._engine.items, settings.serve.max_history),
        )
        self._customers, self._started = self._begin()

    def _load(self) -> tuple[Ranker, Engine]:
        """Return the ranker, and its engine in this process: the model with the products of
        ``PUT /items``, as the endpoint serves it."""
        serve = self._settings.serve
        columns = shown(self._settings)
        engine = Engine.load(self._source.folder, self._source.version, columns)
        products, vectors = read_items(self._database), None
        if products:
            damaged = dict(engine.model.damaged)
            _, vectors_of = open_search(engine, self._source.folder, columns, damaged)
            trained = engine
            engine, _ = overlaid_engine(trained, products, vectors_of)
            if engine.vectors is not None:
                vectors = engine.vectors[trained.n_items :]
        ranker = Ranker(
            uuid.uuid4().hex,
            self._source.folder.resolve(),
            self._source.version,
            columns,
            # Without the event store's address and other credentials: it is sent to executors.
            Serve(rules=serve.rules, exploration=serve.exploration),
            tuple(products),
            vectors,
        )
        ranker.use(engine)
        return ranker, engine

    def _begin(self) -> tuple[Customers, float]:
        """Return the customers and the start (seconds since 1970) of the run that is resumed, else
        of a new one."""
        state = {"plan": self._fingerprint()}
        known = read_json(self._folder / "run.json")
        if (
            isinstance(known, dict)
            and known.get("plan") == state["plan"]
            and time.time() - known["started"] < RESUME_SECONDS
        ):
            ids = pq.read_table(self._folder / "customers.parquet")["user_id"]
            return Customers(ids.combine_chunks(), known["left_out"]), known["started"]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        found = customers(
            *(self._histories, self._database, self._plan.segment),
            *(types(self._settings.ingest.users), self._live.erased_at),
        )
        started = time.time()
        write_table(self._folder / "customers.parquet", pa.table({"user_id": found.ids}))
        # Last: without it the folder is not resumed.
        write_json(
            self._folder / "run.json", {**state, "left_out": found.left_out, "started": started}
        )
        return found, started

    def _fingerprint(self) -> str:
        """Return what changes whenever finished parts must not be used."""
        plan, serve = self._plan, self._settings.serve
        ids = plan.segment.ids
        listed = None if ids is None else hashlib.sha256("\n".join(ids.to_pylist()).encode())
        wanted = {
            "model": [self._source.version, str(self._source.folder), self._source.stamp],
            "products": self._revision,
            "request": plan.request.model_dump(mode="json"),
            "exclude_seen": self._settings.train.exclude_seen,
            "ids": listed and listed.hexdigest(),
            "values": dict(plan.segment.values),
            "language": plan.language,
            "logged": plan.logged,
            "holdout": self._has_holdout and serve.uplift.model_dump(mode="json"),
            "rules": serve.rules.model_dump(mode="json"),
            "exploration": serve.exploration.model_dump(mode="json"),
            "max_history": serve.max_history,
            "part": self._settings.recommend_all.part,
        }
        return hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def _parts(self) -> list[pa.StringArray]:
        size = self._settings.recommend_all.part
        ids = self._customers.ids
        return [ids.slice(start, size) for start in range(0, len(ids), size)]

    def _file(self, part: int) -> Path:
        return self._folder / f"part-{part:06d}.parquet"

    def rank(self) -> None:
        """Rank the parts that are not finished."""
        settings = self._settings.recommend_all
        parts = self._parts
        missing = [number for number in range(len(parts)) if not self._file(number).exists()]
        n_missing = sum(len(parts[number]) for number in missing)
        read_at: dict[int, int] = {}

        def requests() -> Iterator[list[Request]]:
            for number in missing:
                read_at[number] = time.time_ns() // 1000
                yield self._requests(parts[number])

        if not missing:
            return
        n = len(self._customers.ids)
        with (
            ENGINES[settings.engine](self._ranker, settings.workers) as ranks,
            closing(_progress("lists", n, n - n_missing)) as bar,
        ):
            for number, responses in zip(missing, ranks(requests()), strict=True):
                users = parts[number].to_pylist()
                rows = [
                    self._row(user, response, read_at[number])
                    for user, response in zip(users, responses, strict=True)
                ]
                write_table(self._file(number), pa.Table.from_pylist(rows, schema=PART))
                bar.update(len(users))

    def _requests(self, users: pa.StringArray) -> list[Request]:
        """Return the requests of some customers, with their histories as they are now."""
        ids = users.to_pylist()
        self._live.refresh_erasures()
        if self._live.erasures is None:  # then every customer would count as erased
            raise StoreError(
                "the event store could not be read: run again, finished parts are kept"
            )
        self._live.hold_only([f"user:{one}" for one in ids])
        self._profiles.base = self._histories.of(users)
        return [self._request(one) for one in ids]

    def _request(self, user: str) -> Request:
        profile = f"user:{user}"
        exposure = self._exposure(profile)
        popular = exposure is not None and exposure.arm == POPULAR
        shopper = Shopper(user, None, profile, "", language=self._plan.language)
        exclude_seen = self._settings.train.exclude_seen
        return coded(self._plan.request, shopper, self._profiles, exclude_seen, popular=popular)

    def _exposure(self, profile: str) -> Exposure | None:
        return holdout_of(self._settings.serve.uplift, profile) if self._has_holdout else None

    def _row(self, user: str, response: Response, read_at: int) -> dict[str, Any]:
        """Return a list as a part keeps it."""
        profile = f"user:{user}"
        if response.exploration_pool is not None:
            explorer = self._ranker.pipeline().arm(None).explorer
            assert explorer is not None
            response = draw(response, explorer, self._engine.ids, self._random)
        exposure = self._exposure(profile)
        now = time.time_ns() // 1000
        return {
            "user_id": user,
            "impression_id": self._sign(new_id(now), profile, "") if self._plan.logged else None,
            "made_at": read_at,
            "experiment": exposure and exposure.experiment,
            "arm": exposure and exposure.arm,
            "cold": response.cold,
            "item_ids": response.ids,
            "scores": response.scores,
            "propensities": response.propensities,
            "items": f"[{response.items.decode()}]",
        }

    def publish(self) -> dict[str, Any]:
        """Log the impressions, write the rows, publish them and return the manifest."""
        parts = [self._file(number) for number in range(len(self._parts))]
        if self._plan.logged:
            self._check_room(parts)
        counts: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        left_out = Counter(self._customers.left_out)
        erasures = ErasureSnapshot({}, 0)
        self._output.begin()
        with closing(_progress("publishing", len(self._customers.ids))) as bar:
            for file in parts:
                part = pq.read_table(file).to_pylist()
                if last_erasure(self._database) != erasures.last_row:
                    erasures = read_erasures(self._database)
                lists = [one for one in part if not self._is_erased(one, erasures)]
                left_out["erased"] += len(part) - len(lists)
                full = [one for one in lists if one["item_ids"] != "[]"]
                left_out["no product passes the filters"] += len(lists) - len(full)
                if self._plan.logged:
                    self._log(full)
                rows = [row for one in full for row in _rows(one)]
                if rows:
                    self._output.write(rows)
                sources.update(row["source"] for row in rows)
                counts["lists"] += len(full)
                counts["products"] += len(rows)
                counts["without history"] += sum(one["cold"] for one in full)
                counts["in the holdout"] += sum(one["arm"] == POPULAR for one in full)
                bar.update(len(part))
        manifest = self._manifest(counts, sources, left_out)
        self._output.publish(manifest)
        return manifest

    def _is_erased(self, row: Mapping[str, Any], erasures: ErasureSnapshot) -> bool:
        """Return whether the customer was erased after the history was read."""
        if not erasures.times:
            return False
        moment = erasures.times.get(self._database.profile_hash(f"user:{row['user_id']}"))
        return moment is not None and moment >= row["made_at"]

    def _check_room(self, parts: Iterable[Path]) -> None:
        """Raise OutputError if retention would soon remove impressions to make room for these."""
        lists = ["item_ids", "scores", "propensities"]
        needed = 0
        for file in parts:
            table = pq.read_table(file, columns=lists)
            needed += sum(pc.sum(pc.binary_length(table[one])).as_py() or 0 for one in lists)
            needed += ROW_BYTES * len(table)
        retention = self._settings.serve.retention
        with self._database.connected(timeout=None) as connection:
            used = used_bytes(connection, self._database.is_postgres)
        free = MARGIN * retention.max_store_mb * 1e6 - used
        what = "serve.retention.max_store_mb leaves"
        if not self._database.is_postgres:
            disk = shutil.disk_usage(Path(self._database.location).parent).free
            if disk - retention.min_free_mb * 1e6 < free:
                free, what = disk - retention.min_free_mb * 1e6, "its disk leaves"
        if needed > free:
            raise OutputError(
                f"the impressions of the lists need about {needed / 1e6:,.0f} MB of the event "
                f"store, {what} {max(free, 0) / 1e6:,.0f} MB: make room and run again (finished "
                "parts are kept), or use --no-log for lists that nobody is shown"
            )

    def _log(self, lists: Sequence[dict[str, Any]]) -> None:
        """Write the impressions and the exposures to the holdout; durable on return.

        Those that a killed run wrote already stay as they are.
        """
        for start in range(0, len(lists), ROWS_PER_COMMIT):
            some = lists[start : start + ROWS_PER_COMMIT]
            rows = [
                {
                    "profile": f"user:{one['user_id']}",
                    "session_id": None,
                    "model_version": self._source.version,
                    "source": BATCH,
                    "timestamp": one["made_at"],
                    **{
                        name: one[name]
                        for name in (
                            "impression_id",
                            "user_id",
                            "item_ids",
                            "scores",
                            "propensities",
                        )
                    },
                }
                for one in some
            ]
            with self._database.writing() as connection:
                insert_new(connection, IMPRESSIONS, "impression_id", rows)
            exposed = [
                {
                    "experiment": one["experiment"],
                    "profile": f"user:{one['user_id']}",
                    "arm": one["arm"],
                    "model_version": self._source.version,
                    "timestamp": one["made_at"],
                }
                for one in some
                if one["experiment"] is not None
            ]
            if exposed:
                record_exposures(self._database, exposed)

    def _manifest(
        self,
        counts: Mapping[str, int],
        sources: Mapping[str, int],
        left_out: Mapping[str, int],
    ) -> dict[str, Any]:
        def moment(seconds: float | None) -> str | None:
            return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()

        plan, settings = self._plan, self._settings.recommend_all
        of_version = (
            one for one in registered_versions(self._root) if one["version"] == self._source.version
        )
        listed = next(of_version, {})
        return {
            "format": 1,
            "model_version": self._source.version,
            "data_version": listed.get("data_version"),
            "trained_until": moment(self._engine.model.trained_until),
            "started": moment(self._started),
            "finished": moment(time.time()),
            "k": plan.request.k,
            "request": plan.request.model_dump(mode="json", exclude_defaults=True),
            "language": plan.language,
            "impressions_logged": plan.logged,
            "segment": {
                "customers_in_file": None if plan.segment.ids is None else len(plan.segment.ids),
                "attributes": dict(plan.segment.values),
            },
            "engine": settings.engine,
            "customers": len(self._customers.ids) + sum(self._customers.left_out.values()),
            "lists": counts.get("lists", 0),
            "products": counts.get("products", 0),
            "without_history": counts.get("without history", 0),
            "in_holdout": counts.get("in the holdout", 0),
            "sources": dict(sources),
            "left_out": {reason: n for reason, n in left_out.items() if n},
        }


def _progress(title: str, total: int, done: int = 0) -> Progress[str]:
    return progress(desc=title, unit="customer", total=total, initial=done)


def _rows(one: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a list, in the columns of ``output.SCHEMA``."""
    for position, item in enumerate(orjson.loads(one["items"]), 1):
        yield {
            "user_id": one["user_id"],
            "position": position,
            **{
                name: item[name]
                for name in (
                    "item_id",
                    "title",
                    "price",
                    "currency",
                    "score",
                    "source",
                    "reason",
                )
            },
            "impression_id": one["impression_id"],
        }
