"""A shop's tables, candidates and hybrid at several cuts, made by the stages of the product.

In: a folder with ``data/valid`` and ``params.yaml``, or one with ``interactions.parquet`` (user_id,
item_id, timestamp). Out: for each cut a folder like a shop's own, whose test window begins at the
cut: ``preprocess`` reads the valid interactions before the end of that window and no others.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.replay.shop import Encoder
from benchmarks.replay.work import Record, Work
from components.data import ingest, split, validation
from components.data.dataset import DAY, Prepared, item_text, load_prepared
from components.project import code
from components.recommenders import inputs, rank
from components.recommenders.factory import needs_log
from components.recommenders.models.repeat import RepeatPurchases
from components.recommenders.train import fit_candidate
from components.settings import Settings, Source, load_settings

WINDOWS = ("validation", "test")
SECTIONS = ("seed", "preprocess", "augment", "encode", "train")
"""Settings that tables and candidates depend on."""
PLAIN_COLUMNS = ("event", "rating", "quantity", "price", "order_id")
"""Optional columns of a folder's ``interactions.parquet``."""


def with_repeats(settings: Settings, repeats: bool) -> Settings:
    """Return the settings for lists with or without products that the customer had before.

    With them ``repeat`` is among the candidates, without them it is not.
    """
    name = RepeatPurchases.name
    candidates = [one for one in settings.train.candidates if one != name]
    candidates += [name] if repeats else []
    changed = {"exclude_seen": not repeats, "candidates": candidates}
    return settings.model_copy(update={"train": settings.train.model_copy(update=changed)})


def without_log(settings: Settings) -> Settings:
    """Return the settings without the models that learn from served lists: no cut has a log."""
    train = settings.train
    changed = {
        "candidates": [name for name in train.candidates if not needs_log(name)],
        "fine_tuned": [],
    }
    return settings.model_copy(update={"train": train.model_copy(update=changed)})


@dataclass(frozen=True, eq=False)
class Shop:
    """A shop at several cuts. valid: folder of the valid tables. files: of files that candidates
    read, such as rules.yaml. work: where everything is made. customers: the shop has only so many,
    drawn at random, and the products that they bought; 0: it has all."""

    name: str
    valid: Path
    files: Path
    settings: Settings
    work: Work
    customers: int = 0

    @cached_property
    def end(self) -> int:
        """The midnight (UTC) after the newest interaction, seconds since 1970."""
        table = pq.read_table(self.valid / "interactions.parquet", columns=["timestamp"])
        newest = pd.Timestamp(table["timestamp"].to_pandas().max())
        return (int(newest.timestamp()) // DAY + 1) * DAY

    def stops(self, cuts: int) -> list[int]:
        """Return the ends of the test windows of ``cuts`` cuts, one window apart, oldest first."""
        window = self.settings.preprocess.test_days * DAY
        return [self.end - back * window for back in reversed(range(cuts))]

    def root(self, stop: int) -> Path:
        """Return the folder of the cut whose test window ends before ``stop``."""
        return self.work.folder / "cuts" / f"{pd.Timestamp(stop, unit='s').date()}"

    def prepared(self, stop: int) -> Prepared:
        """Return the tables of a cut; ``test_start`` is the cut."""
        place = self.root(stop).relative_to(self.work.folder)
        self.work.once(f"{place}/tables", lambda: self._make_tables(stop))
        return _load(self.root(stop))

    def _make_tables(self, stop: int) -> Record:
        root = self.root(stop)
        shutil.rmtree(root / "data", ignore_errors=True)
        for name in ("data/valid", "models/vectors", "reports"):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name, kept in self._kept(stop).items():
            table = pq.read_table(self.valid / f"{name}.parquet", filters=kept)
            pq.write_table(table, root / f"data/valid/{name}.parquet")
        for file in self.files.glob("*.yaml"):
            shutil.copy(file, root)
        with contextlib.redirect_stdout(io.StringIO()):
            split.run(self.settings, root)
        encode = Encoder(self.settings, self.work.folder / "vectors")
        table = pd.read_parquet(root / "data/prepared/items.parquet")
        np.save(root / "models/vectors/items.npy", encode(item_text(table)))
        return {"items": len(table)}

    def _kept(self, stop: int) -> dict[str, ds.Expression | None]:
        """Return which rows of the valid tables a cut's tables have, by table; None: all."""
        before = ds.field("timestamp") < pd.Timestamp(stop, unit="s", tz="UTC")
        if not self.customers:
            return {"interactions": before, "items": None, "users": None}
        file = self.valid / "interactions.parquet"
        columns = pq.read_table(file, columns=["user_id", "item_id"]).to_pandas()
        ids = np.sort(columns["user_id"].dropna().unique())
        random = np.random.default_rng(self.settings.seed)
        chosen = random.choice(ids, min(self.customers, len(ids)), replace=False)
        bought = columns.loc[columns["user_id"].isin(chosen), "item_id"].unique()
        of_chosen = ds.field("user_id").isin(chosen.tolist())
        of_bought = ds.field("item_id").isin(bought.tolist())
        return {"interactions": before & of_chosen, "items": of_bought, "users": of_chosen}

    def fit(self, stop: int, settings: Settings) -> float:
        """Fit the candidates of the settings for both windows of a cut, each once; return the
        processor seconds."""
        root, prepared = self.root(stop), self.prepared(stop)
        inputs.run(settings, root)
        place = root.relative_to(self.work.folder)

        def once(name: str, window: str) -> float:
            def make() -> Record:
                fit_candidate(settings, root, prepared, name, window)
                return {}

            return float(self.work.once(f"{place}/fitted/{window}-{name}", make)["cpu"])

        return sum(once(name, window) for window in WINDOWS for name in settings.train.names)

    def rank(self, stop: int, settings: Settings) -> None:
        """Make the hybrid of a cut in its ``models/hybrid``, by the stage ``rank``."""
        self.fit(stop, settings)
        with contextlib.redirect_stdout(io.StringIO()):
            rank.run(settings, self.root(stop))


@lru_cache(maxsize=2)
def _load(root: Path) -> Prepared:
    return load_prepared(root / "data/prepared", root / "models/vectors")


def open_shop(
    folder: Path,
    work: Path,
    epochs: int | None = None,
    rank_users: int | None = None,
    customers: int = 0,
) -> Shop:
    """Return the shop of a folder; its results lie in ``work``, by a digest of data and settings.

    The settings are those of the folder's params.yaml, else of the project's. epochs: of the
    sequence model, rank_users: ``rank.max_users``, in place of theirs. customers: see ``Shop``.

    Raises:
        SystemExit: the folder has neither valid tables nor ``interactions.parquet``.
    """
    params, valid = folder / "params.yaml", folder / "data/valid"
    settings = without_log(load_settings(params if params.exists() else None))
    if epochs is not None:
        sequence = settings.train.sequential.model_copy(update={"epochs": epochs})
        train = settings.train.model_copy(update={"sequential": sequence})
        settings = settings.model_copy(update={"train": train})
    if rank_users is not None:
        most = settings.rank.model_copy(update={"max_users": rank_users})
        settings = settings.model_copy(update={"rank": most})
    if not (valid / "interactions.parquet").exists():
        if not (folder / "interactions.parquet").exists():
            raise SystemExit(
                f"{folder} has neither data/valid/interactions.parquet (run `dvc repro validate` "
                "there) nor interactions.parquet with user_id, item_id and timestamp"
            )
        settings = _of_lines(settings, folder)
        valid = _validated(settings, folder, work)
    name = folder.resolve().name
    found = digest(
        data=_of_files([valid / f"{table}.parquet" for table in ("interactions", "items")]),
        settings={section: settings.model_dump(mode="json")[section] for section in SECTIONS},
        code=_of_code(work, ("preprocess", "fit")),
        **({"customers": customers} if customers else {}),
    )
    return Shop(name, valid, folder, settings, Work(work / f"{name}-{found}"), customers)


def _of_lines(settings: Settings, folder: Path) -> Settings:
    """Return settings that read a folder's ``interactions.parquet``, and ``items.parquet`` if it is
    there.

    Raises:
        SystemExit: a column is missing.
    """
    file = (folder / "interactions.parquet").resolve()
    there = pq.read_schema(file).names
    missing = [name for name in ("user_id", "item_id", "timestamp") if name not in there]
    if missing:
        raise SystemExit(f"{file} has no column {', '.join(missing)}: a split by time needs it")
    names = ["user_id", "item_id", "timestamp", *(one for one in PLAIN_COLUMNS if one in there)]
    events = {} if "event" in there else {"event": "purchase"}
    interactions = Source(path=file, columns={name: name for name in names}, **events)
    catalogue = file.with_name("items.parquet")
    items = []
    if catalogue.exists():
        known = pq.read_schema(catalogue).names
        columns = ("item_id", "title", "description", "brand", "categories", "price")
        items = [Source(path=catalogue, columns={one: one for one in columns if one in known})]
    changed = {"interactions": [interactions], "items": items, "users": [], "reviews": []}
    return settings.model_copy(update={"ingest": settings.ingest.model_copy(update=changed)})


def _validated(settings: Settings, folder: Path, work: Path) -> Path:
    """Make the valid tables of a folder's lines; return their folder."""
    root = work / f"{folder.resolve().name}-tables"
    (root / "reports").mkdir(parents=True, exist_ok=True)

    def make() -> Record:
        ingest.run(settings, root)
        validation.run(settings, root, pages=False)
        return {}

    files = list(folder.glob("*.parquet"))
    Work(root).once(f"valid-{_of_files(files)}", make)
    return root / "data/valid"


def _of_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]


def _of_code(work: Path, stages: Iterable[str]) -> str:
    """Return a digest of the code of stages."""
    with contextlib.redirect_stdout(io.StringIO()):
        code.run(load_settings(), work)
    return _of_files([work / code.digests(stage) for stage in stages])


def digest(**parts: Any) -> str:
    """Return a digest of what results depend on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def modes(settings: Settings, repeats: str) -> Iterator[tuple[str, Settings]]:
    """Yield the modes by name with their settings. repeats: ``with``, ``without``, ``own``, that of
    ``train.exclude_seen``, or ``both``, the own first."""
    own = "without" if settings.train.exclude_seen else "with"
    other = "with" if own == "without" else "without"
    wanted = {"both": (own, other), "own": (own,)}.get(repeats, (repeats,))
    for name in wanted:
        yield name, with_repeats(settings, name == "with")
