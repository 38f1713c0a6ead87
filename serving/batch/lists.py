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
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.attributes import types
from components.data.event_kinds import EventKinds
from components.file_erasure import UNFINISHED_LISTS, write_table
from components.file_lock import file_lock
from components.json_files import write_json
from components.parallel import ENGINES
from components.progress import Progress, progress
from components.settings import Settings
from serving.arms import POPULAR, Exposure, holdout_name, holdout_of
from serving.batch.customers import Customers, Histories, customers
from serving.batch.impressions import check_room, is_signed_elsewhere, log
from serving.batch.output import Output, OutputError
from serving.batch.plan import Plan
from serving.batch.ranker import ranker_of
from serving.events.catalogue_table import catalogue_revision, read_items
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.event_erasure import ErasureSnapshot, last_erasure, read_erasures
from serving.events.exposures import experiment_names
from serving.events.store import EventStore, open_store
from serving.events.tables import SECOND
from serving.filters.expression import schema_of
from serving.health import Health
from serving.json_files import read_json
from serving.merchandising.exposure_control import ExposureControl
from serving.merchandising.rulebook import RulebookReader
from serving.models.versions import ModelVersion, find_served, profiles_file, registered_versions
from serving.profiles.profiles import LiveProfiles, Profiles
from serving.recommend.coding import coded
from serving.recommend.exploration import draw
from serving.recommend.impressions import new_id
from serving.recommend.query import surface_of
from serving.recommend.steps import Steps
from serving.recommend.types import Request, Response, Shopper

logger = logging.getLogger("bentoml.bowerbird")

PARTS_AHEAD = 3
"""Parts whose lists may be made before an earlier part counts for exposure rules."""
RESUME_SECONDS = 24 * 3600
"""Age up to which a killed run is resumed; its histories are older otherwise than they need be."""

PART = pa.schema(
    [
        ("user_id", pa.string()),
        ("impression_id", pa.string()),
        ("made_at", pa.int64()),  # microseconds since 1970, when the history was read
        ("experiment", pa.string()),  # of the holdout, null outside it
        ("arm", pa.string()),
        ("cold", pa.bool_()),
        ("rules", pa.string()),  # as ``IMPRESSIONS.rules``
        *((name, pa.string()) for name in ("item_ids", "scores", "propensities", "items")),  # JSON
    ]
)


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
    folder = root / UNFINISHED_LISTS / hashlib.sha256(output.place.encode()).hexdigest()[:16]
    with file_lock(folder.with_suffix(".lock"), wait=False) as mine:
        if not mine:
            raise OutputError(f"another run makes the lists of {output.place} now")
        with open_store(settings.serve.events_url.get_secret_value(), root) as store:
            if plan.logged and is_signed_elsewhere(store.database, sign):
                logger.warning(
                    "the endpoint signs impressions with another secret, so it will not recognise "
                    "those of these lists: set BOWERBIRD_TOKEN_SECRET as for the endpoint"
                )
            run = _Run(settings, root, plan, output, store, source, folder, sign, has_api_key)
            output.begin()  # before the work: it may not be writable
            run.rank()
            manifest = run.publish()
        shutil.rmtree(folder)
    return manifest


@dataclass(frozen=True)
class _Asked:
    """Customers that are ranked together. exposures: to the holdout, None outside it. read_at:
    microseconds since 1970, not after their histories were read."""

    users: list[str]
    exposures: list[Exposure | None]
    read_at: int


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
        self._ranker = ranker_of(settings, store.database, source)
        self._engine = self._ranker.pipeline().engine
        vocabulary = self._engine.model.attributes.users
        file = profiles_file(root, source)
        self._histories = Histories(file, self._engine.items, vocabulary)
        if file is None:
            self._histories.end = self._engine.model.trained_until or 0
        self._live = LiveProfiles(
            store, settings.serve.max_history, EventKinds.of(settings.preprocess)
        )
        schema = schema_of(settings)
        delay = PARTS_AHEAD * settings.recommend_all.part
        # The delay is one of parts, however fast they are made.
        self._exposure = ExposureControl(store.database, schema, delay, loop_seconds=0)
        rules = RulebookReader(store.database, schema, Health(), self._exposure.offsets)
        rules.refresh()
        self._book = rules.book
        self._customers, self._started = self._begin()
        ids = self._customers.ids
        self._places = self._histories.places(ids)
        # Its base is that of the customers who are ranked next.
        self._profiles = Profiles(
            self._histories.of(ids.slice(0, 0), self._places.slice(0, 0)),
            *(self._live, self._engine.items, settings.serve.max_history),
        )

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
        started = time.time()
        found = customers(
            *(self._histories, self._database, self._plan.segment),
            *(types(self._settings.ingest.users), self._live.erased_at),
        )
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
            "gone": [row["item_id"] for row in read_items(self._database) if row["deleted"]],
            "request": plan.request.model_dump(mode="json"),
            "exclude_seen": self._settings.train.exclude_seen,
            "ids": listed and listed.hexdigest(),
            "values": dict(plan.segment.values),
            "language": plan.language,
            "logged": plan.logged,
            "holdout": self._has_holdout and serve.uplift.model_dump(mode="json"),
            "rules": serve.rules.model_dump(mode="json"),
            "merchandising": [one.revision for one in self._book.rules],
            "exploration": serve.exploration.model_dump(mode="json"),
            "max_history": serve.max_history,
            "part": self._settings.recommend_all.part,
            "events": self._settings.preprocess.model_dump(mode="json"),
            "secret": self._sign("", None, ""),
        }
        return hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def _parts(self) -> list[slice]:
        """The places of each part's customers."""
        size, n = self._settings.recommend_all.part, len(self._customers.ids)
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _file(self, part: int) -> Path:
        return self._folder / f"part-{part:06d}.parquet"

    def rank(self) -> None:
        """Rank the parts that are not finished."""
        settings = self._settings.recommend_all
        parts = self._parts
        missing = [number for number in range(len(parts)) if not self._file(number).exists()]
        n_missing = sum(parts[number].stop - parts[number].start for number in missing)
        asked: dict[int, _Asked] = {}

        def requests() -> Iterator[list[Request]]:
            for number in missing:
                asked[number] = self._asked(parts[number])
                yield self._requests(asked[number], parts[number])

        if not missing:
            return
        self._exposure.step(self._book.rules, self._engine)
        for number in range(len(parts)):
            if number not in missing:
                self._count(pq.read_table(self._file(number)).to_pylist())
        n = len(self._customers.ids)
        with (
            ENGINES[settings.engine](
                self._ranker.responses, settings.workers, "recommend_all.engine"
            ) as ranked,
            closing(_progress("lists", n, n - n_missing)) as bar,
        ):
            for number, responses in zip(missing, ranked(requests()), strict=True):
                of_part = asked.pop(number)
                rows = [
                    self._row(*one, of_part.read_at)
                    for one in zip(of_part.users, of_part.exposures, responses, strict=True)
                ]
                write_table(self._file(number), pa.Table.from_pylist(rows, schema=PART))
                self._count(rows)
                bar.update(len(rows))

    def _count(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Let lists of this run, which are no impressions yet, count for exposure rules."""
        lists = [{**one, "timestamp": one["made_at"]} for one in rows]
        self._exposure.count(lists, self._book.rules, self._engine)

    def _steps(self, user: str) -> Steps:
        """Return the merchandising rules for a customer, whose profile is in memory."""
        values = self._profiles.attribute_values
        # As of the start, also after a run that was killed: all lists are under the same rules.
        started = datetime.fromtimestamp(self._started, UTC)
        return self._book.steps(
            surface_of(self._plan.request), lambda: values(user, f"user:{user}"), started
        )

    def _asked(self, part: slice) -> _Asked:
        users = self._customers.ids[part].to_pylist()
        uplift = self._settings.serve.uplift
        exposures: list[Exposure | None] = [None] * len(users)
        if self._has_holdout:
            exposures = [holdout_of(uplift, f"user:{one}") for one in users]
        return _Asked(users, exposures, time.time_ns() // 1000)

    def _requests(self, asked: _Asked, part: slice) -> list[Request]:
        """Return the requests of some customers, with their histories as they are now."""
        self._live.refresh_erasures()
        if self._live.erasures is None:  # then every customer would count as erased
            raise StoreError("the event store cannot be read: run again, finished parts are kept")
        self._live.hold_only([f"user:{one}" for one in asked.users])
        self._profiles.base = self._histories.of(self._customers.ids[part], self._places[part])
        named = self._plan.request.surface
        surface = None if named is None else self._settings.serve.surfaces[named]
        found = []
        for user, exposure in zip(asked.users, asked.exposures, strict=True):
            steps = self._steps(user)
            request = coded(
                self._plan.request,
                Shopper(user, None, f"user:{user}", "", language=self._plan.language),
                *(self._profiles, self._settings.train.exclude_seen, surface),
                popular=exposure is not None and exposure.arm == POPULAR,
                where=steps.excluded,
            )
            found.append(replace(request, steps=steps))
        return found

    def _row(
        self, user: str, exposure: Exposure | None, response: Response, read_at: int
    ) -> dict[str, Any]:
        """Return a list as a part keeps it."""
        if response.exploration_pool is not None:
            explorer = self._ranker.pipeline().arm(None).explorer
            assert explorer is not None
            response = draw(response, explorer, self._engine.ids, self._random)
        impression_id = None
        if self._plan.logged:
            impression_id = self._sign(new_id(time.time_ns() // 1000), f"user:{user}", "")
        return {
            "user_id": user,
            "impression_id": impression_id,
            "made_at": read_at,
            "experiment": exposure and exposure.experiment,
            "arm": exposure and exposure.arm,
            "cold": response.cold,
            "rules": response.rules,
            "item_ids": response.ids,
            "scores": response.scores,
            "propensities": response.propensities,
            "items": f"[{response.items.decode()}]",
        }

    def publish(self) -> dict[str, Any]:
        """Log the impressions, write the rows, publish them and return the manifest."""
        parts = [self._file(number) for number in range(len(self._parts))]
        if self._plan.logged:
            check_room(self._database, self._settings.serve.retention, parts)
        counts: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        left_out = Counter(self._customers.left_out)
        erasures = ErasureSnapshot({}, 0)
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
                    log(self._database, self._source.version, full, self._plan.request.surface)
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
        """Return whether the customer was erased since the customers were listed."""
        if not erasures.times:
            return False
        moment = erasures.times.get(self._database.profile_hash(f"user:{row['user_id']}"))
        return moment is not None and moment >= self._started * SECOND

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
