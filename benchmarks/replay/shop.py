"""The shop's tables at the start of each week, made from the lines before it.

In: all lines of the shop. Out: for each week a folder like a shop's own, with ``data/prepared`` and
``models/vectors``.

All lines are ingested and validated once: with ``validate.returns`` on ``keep``, no check of a line
depends on later ones. What is learned from lines (titles, prices, categories, countries, and
everything of ``preprocess``) is made again in each week, from the lines before it.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.replay.work import Record, Work
from components.arrays import FloatArray
from components.data import ingest, split, validation
from components.data.dataset import DAY, Histories, Prepared, item_text, load_prepared
from components.data.engine import on_disk
from components.data.schema import TABLES
from components.data.sources.currencies import rates_of
from components.data.sources.files import connect, files_of
from components.data.sources.interactions import interactions_of
from components.data.sources.items import items_table
from components.data.sources.users import users_table
from components.language.encoder import TextEncoder, encode_cached, encoder_digest
from components.settings import Settings

FIRST_YEAR = Path("datasets/online-retail/2009-2010.parquet")
SECOND_YEAR = Path("datasets/online-retail/2010-2011.parquet")
START = pd.Timestamp("2010-12-10")
"""The day after the last one of the first file; the second file repeats nine days of the first."""
TIME = "InvoiceDate"
LINES = "lines.parquet"
"""The only source of the replay's settings."""
WEEK = 7 * DAY

Encode = Callable[[list[str]], FloatArray]


class SeesTheFuture(ValueError):
    """A table, a model or a history has events of the week that it would be judged on."""


def two_years(root: Path) -> pd.DataFrame:
    """Return the lines of both years of the embedded shop."""
    second = pd.read_parquet(root / SECOND_YEAR)
    return pd.concat(
        [pd.read_parquet(root / FIRST_YEAR), second[second[TIME] >= START]], ignore_index=True
    )


@dataclass(frozen=True)
class Encoder:
    """The packaged encoder without training on the shop's texts; texts are encoded once."""

    settings: Settings
    folder: Path

    def __call__(self, texts: list[str]) -> FloatArray:
        encoder, digest = self._loaded
        return encode_cached(encoder, digest, texts, self.folder)

    @cached_property
    def _loaded(self) -> tuple[TextEncoder, str]:
        s, name = self.settings.encode, self.settings.pretrain.encoder
        return TextEncoder(name, s.max_length, s.batch_tokens, s.precision), encoder_digest(name)


@dataclass(frozen=True)
class Target:
    """What the customers of a week bought, in the codes of the tables one week later.

    users: object (users,) ids, those with a history first. histories: of the first ``known`` of
    them, in the codes of the week's own tables. bought: CSR (users, items), without products that
    the user had before.
    """

    users: np.ndarray
    known: int
    histories: Histories
    bought: sp.csr_matrix


@dataclass(frozen=True, eq=False)
class Shop:
    """A shop that lives through weeks, numbered from 0.

    lines: all of its lines. start: of week 0. settings: whose ``ingest`` reads the lines. files:
    folder of other files that candidates read.
    """

    lines: pd.DataFrame
    start: pd.Timestamp
    settings: Settings
    files: Path
    work: Work
    encode: Encode

    def begins(self, week: int) -> int:
        """Return the start of a week, seconds since 1970."""
        return int(self.start.timestamp()) + week * WEEK

    def root(self, week: int) -> Path:
        """Return the folder of a week."""
        return self.work.folder / f"weeks/{week:02}"

    def tables(self, week: int) -> Record:
        """Make the tables of the lines before ``week``."""
        self.work.once("all/validated", self._validate)
        return self.work.once(f"weeks/{week:02}/tables", lambda: self._make_tables(week))

    def prepared(self, week: int) -> Prepared:
        """Return the tables of the lines before ``week``.

        Raises:
            SeesTheFuture: they have later events.
        """
        self.tables(week)
        prepared = _load(self.root(week))
        newest = int(prepared.interactions.times.max())
        if newest >= self.begins(week):
            raise SeesTheFuture(
                f"the tables of week {week} have events until {pd.Timestamp(newest, unit='s')}"
            )
        return prepared

    def _validate(self) -> Record:
        """Make data/valid of all lines, and read.parquet: the lines as ``ingest`` reads them."""
        root, settings = self._everything, self.settings
        (root / "reports").mkdir(parents=True, exist_ok=True)
        self.lines.to_parquet(root / LINES)
        with contextlib.redirect_stdout(io.StringIO()):
            ingest.run(settings, root)
            validation.run(settings, root, pages=False)
        con = connect(settings.ingest.timezone)
        with on_disk(con, root, settings.ingest.memory_gb):
            rates = rates_of(con, settings.ingest, root)
            file = files_of(settings.ingest.interactions[0], root)[0]
            interactions_of(con, file, 0, rates).to_parquet(str(root / "read.parquet"))
        return {}

    @property
    def _everything(self) -> Path:
        return self.work.folder / "all"

    def _make_tables(self, week: int) -> Record:
        everything, root, settings = self._everything, self.root(week), self.settings
        for name in ("data", "models"):
            shutil.rmtree(root / name, ignore_errors=True)
        for name in ("data/valid", "models/vectors"):
            (root / name).mkdir(parents=True)
        start = pd.Timestamp(self.begins(week), unit="s", tz="UTC")
        con = connect(settings.ingest.timezone)
        with on_disk(con, root, settings.ingest.memory_gb):
            valid = con.read_parquet(str(everything / "data/valid/interactions.parquet"))
            before = valid.filter(valid.timestamp < start)
            ingest.write(before, TABLES["interactions"], root / "data/valid/interactions.parquet")
            lines = con.read_parquet(str(everything / "read.parquet"))
            lines = lines.filter(lines.timestamp < start)
            rates = rates_of(con, settings.ingest, root)
            items = con.create_table("items", items_table(con, lines, [], settings.ingest, rates))
            good = con.read_parquet(str(everything / "data/valid/items.parquet"))
            items = items.semi_join(good, "item_id").order_by("item_id")
            ingest.write(items, TABLES["items"], root / "data/valid/items.parquet")
            users = users_table(con, lines, [])
            ingest.write(users, TABLES["users"], root / "data/valid/users.parquet")
        with contextlib.redirect_stdout(io.StringIO()):
            split.run(settings, root)
            table = pd.read_parquet(root / "data/prepared/items.parquet")
            np.save(root / "models/vectors/items.npy", self.encode(item_text(table)))
        shutil.rmtree(root / "data/valid")
        for file in self.files.glob("*.yaml"):
            shutil.copy(file, root)
        return {"items": len(table)}


@lru_cache(maxsize=2)
def target_of(shop: Shop, week: int) -> Target:
    """Return what was bought in ``week``, and by whom.

    Raises:
        SeesTheFuture: a history has events of the week.
    """
    before, after = shop.prepared(week), shop.prepared(week + 1)
    x, start = after.interactions, shop.begins(week)
    bought = x.where(x.times >= start).matrix()
    if shop.settings.train.exclude_seen:
        bought = (bought - bought.multiply(x.where(x.times < start).matrix())).tocsr()
        bought.eliminate_zeros()
    codes = np.flatnonzero(np.diff(bought.indptr))
    ids = after.users["user_id"].to_numpy()[codes]
    old = pd.Index(before.users["user_id"]).get_indexer(ids)
    order = np.argsort(old < 0, kind="stable")
    known = int((old >= 0).sum())
    histories = before.interactions.histories(old[order[:known]], start)
    if (histories.times >= start).any():
        raise SeesTheFuture(f"histories of week {week} have events of the week")
    return Target(ids[order], known, histories, bought[codes[order]])


@lru_cache(maxsize=4)
def _load(root: Path) -> Prepared:
    return load_prepared(root / "data/prepared", root / "models/vectors")
