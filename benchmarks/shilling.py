"""Exposure of a product that false profiles buy or click, before and after retraining.

    python -m benchmarks.shilling [--work FOLDER] [--targets 3]

Every fourth customer of the embedded shop. In the last eight weeks, three in five of the customers
come through the endpoint with sessions, and so do as many visitors as customers, who view one to
four products of a real visit; the others come in the shop's own files. Then false profiles of the
standard attacks (Mobasher et al., ACM TOIT 2007) are added, and the model is trained again: the
candidates, the ranker on the validation window, the candidates on all data. *Exposure* is the share
of the shop's own customers whose first page (10 products) shows the target.

Constants of the defences were chosen on the tuning targets (``--tune``); the results page reports
other targets, other seeds and all kinds of attack.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.poisoning import small_shop
from components.data import ingest, split, validation
from components.data.dataset import Histories, Prepared, load_prepared
from components.data.false_profiles import false_profiles
from components.data.feedback import over_limits
from components.data.holdout import window_task
from components.data.schema import INTERACTIONS, USERS
from components.evaluation.metrics import ndcg
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings

RESULTS = Path(__file__).parent / "results"
MODELS = ["popularity", "item_neighbours", "matrix_factorisation", "content"]
PAGE, WEEKS = 10, 8
SHARES = (0.005, 0.01, 0.03, 0.1)
CUSTOMERS = 4  # every fourth


@dataclass(frozen=True)
class World:
    """The shop with honest feedback. rows: valid interactions. popularity: of each item id."""

    root: Path
    settings: Settings
    rows: pd.DataFrame
    end: pd.Timestamp
    popularity: pd.Series

    @property
    def profiles(self) -> int:
        return int(self.rows["user_id"].nunique())

    @cached_property
    def of_feedback(self) -> set[str]:
        """Honest profiles that only feedback without the shop's key names."""
        feedback = self.rows["authentication"].notna()
        return set(self.rows.loc[feedback, "user_id"]) - set(self.rows.loc[~feedback, "user_id"])


def build_world(root: Path) -> World:
    """Return the shop, prepared below ``root`` unless it is there already."""
    settings = small_shop(root, CUSTOMERS)
    train = settings.train.model_copy(update={"candidates": MODELS})
    rank = settings.rank.model_copy(update={"candidates_per_model": 50, "trees": 30})
    settings = settings.model_copy(update={"train": train, "rank": rank})
    if not (root / "models/vectors/items.npy").exists():
        for name in ("reports", settings.ingest.feedback):
            (root / name).mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            for stage in (ingest, validation, split):
                stage.run(settings, root)
        shutil.copytree(root / "data/valid", root / "data/clean")
        titles = pd.read_parquet(root / "data/prepared/items.parquet")["title"].fillna("")
        words = TfidfVectorizer().fit_transform(titles)
        vectors = TruncatedSVD(64, random_state=0).fit_transform(words).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        (root / "models/vectors").mkdir(parents=True)
        np.save(root / "models/vectors/items.npy", vectors)
    rows = pd.read_parquet(root / "data/clean/interactions.parquet")
    end = rows["timestamp"].max().floor("D") + pd.Timedelta(days=1)
    start = end - pd.Timedelta(weeks=WEEKS)
    late = rows["timestamp"] >= start
    rng = np.random.default_rng(0)
    ids = rows["user_id"].unique()
    sessions = pd.Series(rng.random(len(ids)) < 0.6, ids)
    by_session = late & rows["user_id"].map(sessions)
    rows = as_feedback(rows, by_session, "address of " + rows["user_id"])
    rows = pd.concat([rows, visitors(rows[late], len(ids), rng)], ignore_index=True)
    counts = rows.drop_duplicates(["user_id", "item_id"])["item_id"].value_counts().sort_index()
    return World(root, settings, rows, end, counts)


def as_feedback(rows: pd.DataFrame, chosen: pd.Series, clients: pd.Series) -> pd.DataFrame:
    """Return the rows with those that are chosen as serving exports them, sent with sessions."""
    day = "events-" + rows["timestamp"].dt.strftime("%Y-%m-%d") + ".parquet"
    return rows.assign(
        authentication=rows["authentication"].mask(chosen, "session"),
        client=rows["client"].mask(chosen, clients),
        source=rows["source"].mask(chosen, day),
        price=rows["price"].mask(chosen),
    )


def visitors(late: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return n visitors, each with one to four products of a real visit; a tenth share one of
    five addresses."""
    visits = [rows for _, rows in late.groupby(["user_id", "timestamp"])]
    chosen = [visits[place] for place in rng.integers(0, len(visits), n)]
    parts = [
        one.sample(min(len(one), int(rng.integers(1, 5))), random_state=int(rng.integers(2**31)))
        for one in chosen
    ]
    names = [f"session:visitor-{number}" for number in range(n)]
    shared = [
        f"network {rng.integers(5)}" if rng.random() < 0.1 else f"address of {name}"
        for name in names
    ]
    sizes = [len(part) for part in parts]
    rows = pd.concat(parts, ignore_index=True).assign(
        user_id=np.repeat(names, sizes), event="view", quantity=1.0, order_id=None
    )
    later = pd.to_timedelta(np.repeat(rng.integers(0, 12 * 3600, n), sizes), unit="s")
    rows["timestamp"] = rows["timestamp"].dt.floor("D") + pd.Timedelta(hours=8) + later
    return as_feedback(
        rows.astype({"quantity": "float32"}),
        pd.Series(True, rows.index),
        pd.Series(np.repeat(shared, sizes), rows.index),
    )


# Attacks. Each returns the products that a false profile has beside the target.

Filler = Callable[["World", str, int, np.random.Generator], list[str]]


def random_filler(world: World, target: str, n: int, rng: np.random.Generator) -> list[str]:
    return rng.choice(world.popularity.index, n, replace=False).tolist()


def average_filler(world: World, target: str, n: int, rng: np.random.Generator) -> list[str]:
    share = (world.popularity / world.popularity.sum()).to_numpy()
    return rng.choice(world.popularity.index, n, replace=False, p=share).tolist()


def bandwagon_filler(world: World, target: str, n: int, rng: np.random.Generator) -> list[str]:
    popular = world.popularity.nlargest(20).index
    some = rng.choice(popular, min(5, n), replace=False).tolist()
    return some + random_filler(world, target, n - len(some), rng)


def segment_filler(world: World, target: str, n: int, rng: np.random.Generator) -> list[str]:
    """Products that customers of one popular product buy: the same segment for all profiles."""
    popular = world.popularity.nlargest(100).index
    centre = popular[zlib.crc32(target.encode()) % len(popular)]
    buyers = world.rows.loc[world.rows["item_id"] == centre, "user_id"]
    theirs = world.rows[world.rows["user_id"].isin(buyers)].drop_duplicates(["user_id", "item_id"])
    lift = theirs["item_id"].value_counts().head(200) / world.popularity**0.5
    segment = lift.nlargest(30).index
    return rng.choice(segment, min(n, len(segment)), replace=False).tolist()


def probe_filler(world: World, target: str, n: int, rng: np.random.Generator) -> list[str]:
    """What the shop recommends to somebody with a product of the segment: asked of the endpoint."""
    lists = json.loads((world.root / "lists.json").read_text())
    seeds = rng.choice(list(lists), 3, replace=False)
    found = list(dict.fromkeys(item for seed in seeds for item in (seed, *lists[seed])))
    return found[:n]


PROFILES: dict[str, Filler] = {
    "random": random_filler,
    "average": average_filler,
    "bandwagon": bandwagon_filler,
    "segment": segment_filler,
    "probe": probe_filler,
}
FLOODS = ("flood in a burst", "slow flood")
KINDS = (*PROFILES, *FLOODS)


def attack(
    world: World, kind: str, share: float, target: str, seed: int, one_client: bool
) -> pd.DataFrame:
    """Return the rows of an attack: so many false profiles, as a share of the honest ones.

    A false profile has 20 products within an hour on a random day of the last eight weeks; of a
    flood, one click on the target alone.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind), int(1000 * share)])
    n = max(1, round(share * world.profiles))
    names = [f"session:false-{seed}-{number}" for number in range(n)]
    if kind in PROFILES:
        baskets = [
            [target, *(i for i in PROFILES[kind](world, target, 19, rng) if i != target)]
            for _ in names
        ]
        days = rng.integers(1, WEEKS * 7, n)
        starts = world.end - pd.to_timedelta(days, unit="D")
        starts += pd.to_timedelta(rng.integers(8 * 3600, 18 * 3600, n), unit="s")
    else:
        baskets = [[target]] * n
        one_client = True
        if kind == "slow flood":
            hours = np.linspace(WEEKS * 7 * 24 - 1, 12, n)
            starts = world.end - pd.to_timedelta(hours, unit="h")
        else:
            starts = world.end - pd.Timedelta(days=3, hours=12)
            starts += pd.to_timedelta(rng.integers(0, 3600, n), unit="s")
    sizes = [len(basket) for basket in baskets]
    times = pd.Series(starts).repeat(sizes).reset_index(drop=True).dt.floor("s")
    times += pd.to_timedelta(rng.integers(0, 3600, len(times)), unit="s")
    clients = np.repeat([f"attacker {0 if one_client else number}" for number in range(n)], sizes)
    rows = pd.DataFrame(
        {
            **dict.fromkeys(INTERACTIONS.names),
            "user_id": np.repeat(names, sizes),
            "item_id": np.concatenate(baskets),
            "event": "purchase" if kind in PROFILES else "click",
            "quantity": 1.0,
            "timestamp": times,
            "source_row": range(sum(sizes)),
        }
    )
    every = pd.Series(True, rows.index)
    return as_feedback(rows, every, pd.Series(clients, rows.index))


# Training and exposure.


@dataclass(frozen=True)
class Defence:
    """Which defences are on."""

    limits: bool
    profiles: bool
    cap: bool


NO_DEFENCE, ALL_DEFENCES = Defence(False, False, False), Defence(True, True, True)


@dataclass(frozen=True)
class Kept:
    """The rows that are learned from, and which profiles the detection took."""

    rows: pd.DataFrame
    quarantined: set[str]


def defended(world: World, rows: pd.DataFrame, defence: Defence) -> Kept:
    """Return the rows that pass the limits and the detection of false profiles, as in
    ``validate``."""
    settings = world.settings.validate_
    if defence.limits:
        rows = rows.drop(index=over_limits(rows, settings).index)
    taken: set[str] = set()
    if defence.profiles:
        found = false_rows(rows)
        taken = set(rows.loc[found.index, "user_id"])
        rows = rows.drop(index=found.index)
    return Kept(rows.reset_index(drop=True), taken)


def prepare(world: World, rows: pd.DataFrame, defence: Defence) -> Prepared:
    """Return the rows as the stage ``preprocess`` prepares them."""
    valid, settings = world.root / "data/valid", world.settings
    table = pa.Table.from_pandas(rows, schema=INTERACTIONS, preserve_index=False)
    pq.write_table(table, valid / "interactions.parquet")
    users = pd.DataFrame({"user_id": rows["user_id"].unique(), "country": None, "source": "lines"})
    pq.write_table(
        pa.Table.from_pandas(users, schema=USERS, preserve_index=False), valid / "users.parquet"
    )
    with contextlib.redirect_stdout(io.StringIO()):
        split.run(settings, world.root)
    return load_prepared(world.root / "data/prepared", world.root / "models/vectors")


def fit(settings: Settings, prepared: Prepared, stop: int) -> Hybrid:
    """Return the model on all events before ``stop``, its ranker learned on the validation
    window."""
    x, catalogue = prepared.interactions, prepared.catalogue

    def candidates(until: int) -> dict[str, object]:
        train = x.where(x.times < until)
        return {name: build(name, settings).fit(train, catalogue) for name in MODELS}

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        earlier = x.where(x.times < prepared.validation_start)
        learner = Hybrid(settings.rank, candidates(prepared.validation_start), seed=settings.seed)
        learner.fit(earlier, catalogue)
        task = window_task(prepared, "validation", True)
        learner.fit_ranker(task.histories, task.targets, True)
        model = Hybrid(
            settings.rank, candidates(stop), ranker=learner.ranker, seed=settings.seed
        )
        return model.fit(x.where(x.times < stop), catalogue)


def first_pages(model: Hybrid, prepared: Prepared) -> np.ndarray:
    """Return the first pages of the shop's own customers, int (customers, PAGE)."""
    users = np.flatnonzero(prepared.users["verified"].to_numpy())
    ids, _ = model.recommend(prepared.interactions.histories(users, prepared.end), PAGE)
    return ids


def asked_lists(model: Hybrid, prepared: Prepared, world: World) -> None:
    """Write what the shop recommends to somebody with one product, for 100 popular products."""
    codes = pd.Index(prepared.catalogue.ids).get_indexer(world.popularity.nlargest(100).index)
    histories = Histories.from_lists([[int(code)] for code in codes], prepared.end)
    ids, _ = model.recommend(histories, PAGE)
    names = prepared.catalogue.ids
    lists = {names[code]: names[row].tolist() for code, row in zip(codes, ids, strict=True)}
    (world.root / "lists.json").write_text(json.dumps(lists))


def false_rows(rows: pd.DataFrame) -> pd.Series:
    """Return why rows are of false profiles: index = the row's label, value = reason."""
    names = ["user_id", "item_id", "client", "authentication"]
    texts = rows[names].astype(object).where(rows[names].notna(), None)
    frame = texts.assign(timestamp=rows["timestamp"], row=range(len(rows)))
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    found = false_profiles(con.create_table("rows", frame)).to_pandas()
    return found.set_index(rows.index[found["row"]])["reason"]


def exposure(pages: np.ndarray, prepared: Prepared, target: str) -> float:
    """Return the share of the pages that show the target."""
    code = pd.Index(prepared.catalogue.ids).get_loc(target)
    return float((pages == code).any(axis=1).mean())
