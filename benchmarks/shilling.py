"""Exposure of a product that false profiles buy or click, before and after retraining.

    python -m benchmarks.shilling --work FOLDER [--stop HH:MM]

Every seventh customer of the embedded shop. In the last eight weeks, three in five of the customers
come through the endpoint with sessions, and so do visitors, up to as many as customers, who each
view one to four products of a real visit of another customer and day; the others come in the shop's
own files. Then false profiles of the standard attacks (Mobasher et al., ACM TOIT 2007) are added,
and the model is trained again: the candidates, the ranker on the validation window, the candidates
on all data. *Exposure* is the share of the shop's own customers whose first page (10 products)
shows the target.

The exposure of one product depends on chance of the training, too, so each attack has TARGETS
targets, each with profiles and a training of its own seed, and is compared with the mean of CLEAN
trainings of other seeds without an attack.

Constants of the defences were chosen on the tuning targets (``--tune``); the results page reports
other targets, other seeds and all kinds of attack.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.poisoning import ENOUGH, small_shop
from components.data import ingest, split, validation
from components.data.dataset import Histories, Prepared, load_prepared
from components.data.false_profiles import false_profiles
from components.data.feedback import over_limits
from components.data.holdout import window_task
from components.data.schema import INTERACTIONS, USERS
from components.evaluation.compare import eligible
from components.evaluation.exposure import gains, unexplained
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Guardrails, Settings

RESULTS = Path(__file__).parent / "results"
MODELS = ["popularity", "item_neighbours", "matrix_factorisation", "content"]
PAGE, WEEKS = 10, 8
AIM = 0.03


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
    def sizes(self) -> np.ndarray:
        """Products of each customer in a visit, of visits with 5 to 60."""
        bought = self.rows[self.rows["event"] == "purchase"]
        found = bought.groupby(["user_id", "timestamp"])["item_id"].nunique().to_numpy()
        return found[(found >= 5) & (found <= 60)]

    @cached_property
    def segments(self) -> list[np.ndarray]:
        """Of each of 20 popular products, 30 that its customers buy more often than others do."""
        pairs = self.rows.drop_duplicates(["user_id", "item_id"])
        found = []
        for centre in self.popularity.nlargest(20).index:
            buyers = pairs.loc[pairs["item_id"] == centre, "user_id"]
            theirs = pairs.loc[pairs["user_id"].isin(buyers), "item_id"].value_counts().head(200)
            found.append((theirs / self.popularity**0.5).nlargest(30).index.to_numpy())
        return found

    @cached_property
    def of_feedback(self) -> set[str]:
        """Honest profiles that only feedback without the shop's key names."""
        feedback = self.rows["authentication"].notna()
        return set(self.rows.loc[feedback, "user_id"]) - set(self.rows.loc[~feedback, "user_id"])


def build_world(root: Path) -> World:
    """Return the shop, prepared below ``root`` unless it is there already."""
    settings = small_shop(root)
    als = settings.train.matrix_factorisation.model_copy(update={"factors": 32, "iterations": 6})
    models = {"candidates": MODELS, "matrix_factorisation": als}
    train = settings.train.model_copy(update=models)
    rank = settings.rank.model_copy(update={"candidates_per_model": 40, "trees": 20})
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
    return world_of(root, settings, rows)


def world_of(root: Path, settings: Settings, rows: pd.DataFrame) -> World:
    """Return the world of a shop's valid interactions, with honest feedback."""
    end = rows["timestamp"].max().floor("D") + pd.Timedelta(days=1)
    late = rows["timestamp"] >= end - pd.Timedelta(weeks=WEEKS)
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
    """Return at most n visitors, each with one to four products of a real visit of its own; a tenth
    share one of five addresses.

    Of a customer's visits on one day only the first counts: a wholesaler sent the same two products
    twelve times on one day, and twelve visitors with these would be no honest crowd.
    """
    by_visit = late.assign(day=late["timestamp"].dt.floor("D")).groupby(["user_id", "timestamp"])
    of_day = by_visit["day"].first().reset_index().drop_duplicates(["user_id", "day"])
    kept = pd.MultiIndex.from_frame(of_day[["user_id", "timestamp"]])
    visits = [rows.drop(columns="day") for key, rows in by_visit if key in kept]
    n = min(n, len(visits))
    chosen = [visits[place] for place in rng.permutation(len(visits))[:n]]
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


# Attacks. Each returns the products that a false profile has besides the target.

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
    segment = world.segments[zlib.crc32(target.encode()) % len(world.segments)]
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
SOME, FEW = ("bandwagon", "slow flood"), 4
"""Kinds that are measured at other shares than the aim's, too, and on how many targets."""
TARGETS, RARE, CLEAN = 16, 3, 8
"""Targets that first pages show, targets that hardly sell, trainings without an attack."""
TUNED = (
    *("22730", "22555", "15056N", "84970L", "22196", "22588", "22493", "22151", "22502", "48138"),
    *("20713", "21034", "22113", "22374", "22380", "22584", "22739", "22943", "37449"),
    *("21945", "85124A", "15058C", "22166", "84846A", "21637"),
)
"""Targets that constants were chosen on; the last row hardly sells. They are not reported."""


def attack(
    world: World, kind: str, share: float, target: str, seed: int, one_client: bool
) -> pd.DataFrame:
    """Return the rows of an attack: so many false profiles, as a share of the honest ones.

    A false profile has as many products as some honest customer, within an hour on a random day
    of the last eight weeks; of a flood, one click on the target alone.
    """
    rng = np.random.default_rng([seed, KINDS.index(kind), int(1000 * share)])
    n = max(1, round(share * world.profiles))
    names = [f"session:false-{seed}-{number}" for number in range(n)]
    if kind in PROFILES:
        baskets = [
            [target, *(i for i in PROFILES[kind](world, target, size, rng) if i != target)]
            for size in rng.choice(world.sizes, n).tolist()
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
    if not defence.cap:
        off = {"max_item_influence": ENOUGH, "max_influence": ENOUGH}
        section = settings.preprocess.model_copy(update=off)
        settings = settings.model_copy(update={"preprocess": section})
    with contextlib.redirect_stdout(io.StringIO()):
        split.run(settings, world.root)
    return load_prepared(world.root / "data/prepared", world.root / "models/vectors")


def fit(settings: Settings, prepared: Prepared, stop: int) -> Hybrid:
    """Return the model on all events before ``stop``, its ranker learned on the validation
    window."""
    x, catalogue = prepared.interactions, prepared.catalogue

    def candidates(until: int) -> dict[str, Recommender]:
        train = x.where(x.times < until)
        return {name: build(name, settings).fit(train, catalogue) for name in MODELS}

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        earlier = x.where(x.times < prepared.validation_start)
        learner = Hybrid(settings.rank, candidates(prepared.validation_start), seed=settings.seed)
        learner.fit(earlier, catalogue)
        task = window_task(prepared, "validation", True)
        learner.fit_ranker(task.histories, task.targets, True)
        model = Hybrid(settings.rank, candidates(stop), ranker=learner.ranker, seed=settings.seed)
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


def fit_pages(
    world: World, rows: pd.DataFrame, defence: Defence
) -> tuple[Kept, Prepared, pd.Series]:
    """Return what was learned from, as rows and prepared, and the exposure of each product id after
    training on it."""
    kept = defended(world, rows, defence)
    prepared = prepare(world, kept.rows, defence)
    model = fit(world.settings, prepared, prepared.end)
    pages = first_pages(model, prepared)
    if not (world.root / "lists.json").exists():
        asked_lists(model, prepared, world)
    counts = np.bincount(pages[pages >= 0], minlength=len(prepared.catalogue))
    return kept, prepared, pd.Series(counts / len(pages), prepared.catalogue.ids)


def clean_ndcg(world: World, defence: Defence) -> np.ndarray:
    """Return NDCG@10 of the shop's own customers on the test window, float (customers,), without
    an attack; the targets are those without defences."""
    truth = prepare(world, world.rows, NO_DEFENCE)
    task = window_task(eligible(truth), "test", True)
    ids = truth.users["user_id"].to_numpy()[task.users]
    prepared = prepare(world, defended(world, world.rows, defence).rows, defence)
    model = fit(world.settings, prepared, prepared.test_start)
    users = pd.Index(prepared.users["user_id"]).get_indexer(ids)
    pages, _ = model.recommend(prepared.interactions.histories(users, prepared.test_start), PAGE)
    return ndcg(pages, task.targets)


@dataclass(frozen=True)
class Target:
    item: str
    known: bool
    seed: int


def choose_targets(world: World, chosen_by: pd.Series, tune: bool) -> list[Target]:
    """Return products that first pages show (0.5 to 2 %), and some that hardly sell; for tuning
    those of TUNED.

    chosen_by: exposures of a training that nothing is compared with: those of another one are no
    larger or smaller because of the choice.
    """
    rng = np.random.default_rng(0)
    shown = rng.permutation(chosen_by.index[(chosen_by > 0.005) & (chosen_by < 0.02)])
    rare = rng.permutation(world.popularity.index[world.popularity.between(3, 6)])
    shown, rare = (items[np.isin(items, TUNED) == tune] for items in (shown, rare))
    chosen = [(item, True) for item in shown[:TARGETS]] + [(item, False) for item in rare[:RARE]]
    return [Target(item, known, n + 100 * (1 + tune)) for n, (item, known) in enumerate(chosen)]


def cells(targets: list[Target]) -> list[tuple[str, float, str, bool, Target]]:
    """Return (kind, share, client, with defences, target) of each cell, the aim's share first.

    Without defences the client does not matter.
    """
    shown = [one for one in targets if one.known]
    rare = [one for one in targets if not one.known]

    def of(
        kinds: Sequence[str], share: float, targets: list[Target], defences: bool
    ) -> list[tuple[str, float, str, bool, Target]]:
        clients = {kind: "one" if kind in FLOODS else "own" for kind in kinds}
        return [(kind, share, clients[kind], defences, one) for one in targets for kind in kinds]

    found = of(KINDS, AIM, shown, True)
    found += of(KINDS, AIM, shown[:FEW], False)
    for share in (0.1, 0.01, 0.005):
        found += of(SOME, share, shown[:FEW], True) + of(SOME, share, shown[:FEW], False)
    found += of(KINDS, AIM, rare, True) + of(KINDS, AIM, rare, False)
    found += [(kind, AIM, "one", True, one) for one in shown[:FEW] for kind in PROFILES]
    return found + of(KINDS, AIM, shown[FEW:], False)


def held_products(before: pd.Series, after: pd.Series, prepared: Prepared) -> list[str]:
    """Return the products for which ``register`` and a refresh hold promotions. before, after:
    exposure of each product id."""
    ids = prepared.catalogue.ids
    shares = [one.reindex(ids, fill_value=0.0).to_numpy() for one in (before, after)]
    found = unexplained(gains(shares[0], shares[1], Guardrails()), shares, prepared)
    return [one.item_id for one in found]


def measure(
    world: World, cell: tuple[str, float, str, bool, Target], before: pd.Series
) -> dict[str, object]:
    """Return the exposure of a cell's target, how many profiles were taken, and whether the gain
    over ``before``, exposures of a training without an attack, holds promotions."""
    kind, share, client, defences, target = cell
    rows = attack(world, kind, share, target.item, target.seed, client == "one")
    both = pd.concat([world.rows, rows], ignore_index=True)
    defence = ALL_DEFENCES if defences else NO_DEFENCE
    kept, prepared, shown = fit_pages(seeded(world, target.seed), both, defence)
    held = held_products(before, shown, prepared)
    false = set(rows["user_id"])
    mine = kept.rows[kept.rows["user_id"].isin(false) & (kept.rows["item_id"] == target.item)]
    return {
        "exposure": float(shown[target.item]),
        "false": len(false),
        "left": int(mine["user_id"].nunique()),
        "honest taken": len(kept.quarantined - false),
        "held": target.item in held,
        "held for others": len(set(held) - {target.item}),
    }


def seeded(world: World, seed: int) -> World:
    """Return the world with another seed of the training."""
    return replace(world, settings=world.settings.model_copy(update={"seed": seed}))


def clean_exposures(world: World) -> pd.DataFrame:
    """Return the exposures without an attack, with all defences: a row for each product id, a
    column for each training. They are written below the world's folder as they are made."""
    file = world.root / "clean.csv"
    found = pd.read_csv(file, dtype={"item": str}, index_col="item") if file.exists() else None
    for seed in range(0 if found is None else found.shape[1], 1 + CLEAN):
        _, _, shown = fit_pages(seeded(world, seed), world.rows, ALL_DEFENCES)
        column = shown.rename_axis("item").rename(f"seed {seed}")
        found = column.to_frame() if found is None else found.join(column)
        found.to_csv(file)
    assert found is not None
    return found


def run_cells(world: World, file: Path, tune: bool, stop: str | None) -> pd.DataFrame:
    """Measure the cells that ``file`` (a JSON line each) does not have yet; return all.

    stop: HH:MM, at which no further cell is begun.
    """
    done = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {one["cell"] for one in done}

    def keep(name: str, values: dict[str, object]) -> None:
        done.append({"cell": name, **values})
        done[-1]["cpu"] = round(time.process_time(), 1)
        with file.open("a") as stream:
            stream.write(json.dumps(done[-1]) + "\n")
        print(done[-1], flush=True)

    clean = clean_exposures(world)
    if "clean" not in known:
        taken = defended(world, world.rows, ALL_DEFENCES).quarantined
        keep("clean", {"honest taken": len(taken)})
    if "ndcg cap" not in known and not tune:
        before = clean_ndcg(world, NO_DEFENCE)
        for name, defence in (("all", ALL_DEFENCES), ("cap", Defence(False, False, True))):
            after = clean_ndcg(world, defence)
            low, high = interval(after - before, 1000, 0)
            means = {"before": float(before.mean()), "after": float(after.mean())}
            keep(f"ndcg {name}", {**means, "low": low, "high": high})
    before = clean["seed 0"]
    for cell in cells(choose_targets(world, before, tune)):
        if stop is not None and f"{datetime.now():%H:%M}" >= stop:
            break
        kind, share, client, defences, target = cell
        name = f"{kind}, {share}, {client}, {'all' if defences else 'none'}, {target.item}"
        if name in known:
            continue
        facts = {"kind": kind, "share": share, "client": client, "defences": defences}
        own = float(clean.loc[target.item].iloc[1:].mean())
        keep(name, {**facts, "known": target.known, "clean": own, **measure(world, cell, before)})
    return pd.DataFrame(done)


def table_of(cells: pd.DataFrame) -> list[str]:
    """Return the lines of the table of exposures: a row for each share, kind and client."""
    lines = [
        "| false profiles | attack, from | targets | clean | without defences | with defences "
        "| times the clean value | false profiles left | honest profiles taken | held |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    on = cells["defences"]
    keys = ["share", "order", "kind"]
    undefended = dict(list(cells[~on].groupby(keys)))
    for (share, order, kind, client), rows in cells[on].groupby([*keys, "client"]):
        without = undefended.get((share, order, kind))
        left = rows["left"].sum() / rows["false"].sum()
        lines.append(
            f"| {share:.1%} | {kind}, {client} | {len(rows)} | {rows['clean'].mean():.2%} | "
            f"{'–' if without is None else times(without)} | {rows['exposure'].mean():.2%} | "
            f"{times(rows)} | {left:.0%} | {rows['honest'].mean():.2%} "
            f"(at most {rows['honest'].max():.1%}) | {held(rows)} |"
        )
    return lines


def held(rows: pd.DataFrame) -> str:
    """Return in how many of the measured cases the target holds promotions."""
    known = rows["held"].dropna()
    return f"{int(known.sum())} of {len(known)}" if len(known) else "–"


def conclusion(attacks: pd.DataFrame) -> list[str]:
    """Return whether the aim is met, for targets that first pages show."""
    own = attacks["client"].eq("an address each") | attacks["kind"].isin(FLOODS)
    rows = attacks[attacks["known"] & attacks["defences"] & own & (attacks["share"] == AIM)]
    kinds = rows.groupby("order").agg(
        kind=("kind", "first"), exposure=("exposure", "mean"), clean=("clean", "mean")
    )
    missed = kinds.loc[kinds["exposure"] >= 2 * kinds["clean"], "kind"].tolist()
    most = rows.groupby("kind")["honest"].mean()
    return [
        f"The aim at {AIM:.0%} false profiles, exposure below twice the clean value, is met on "
        f"average for {len(kinds) - len(missed)} of {len(kinds)} attacks"
        + (f", and missed for {', '.join(missed)}" if missed else "")
        + f". Of the honest profiles at most {most.max():.2%} are taken on average ({most.idxmax()}"
        f"), {rows['honest'].max():.1%} in the worst case. An interval that reaches beyond 2 means "
        "that the number of targets does not prove it for that attack.",
        "",
        "At 0.5 and 1 % the detection finds nothing, and exposure can rise to several times its "
        "clean value; the check of exposure holds only some of these cases. *Without defences* is "
        "measured on all targets at 3 %, also for one address, and on four at other shares.",
    ]


def noise(clean: pd.DataFrame) -> tuple[float, float]:
    """Return the standard deviation of a product's exposure over the seeds, relative to its mean
    (median), and the share of trainings in which it is at least twice its mean."""
    chosen, others = clean.iloc[:, 0], clean.iloc[:, 1:]
    shown = others[(chosen > 0.005) & (chosen < 0.02)]
    mean = shown.mean(axis=1)
    relative = shown.div(mean.where(mean > 0), axis=0)
    return float(relative.std(axis=1).median()), float((relative >= 2).to_numpy().mean())


def times(rows: pd.DataFrame) -> str:
    """Return the mean exposure as a multiple of the clean one, with the 95 % interval over the
    targets (bootstrap)."""
    shown, clean = rows["exposure"].to_numpy(), rows["clean"].to_numpy()
    if not clean.any():
        return f"{shown.mean():.2%}"
    ratio = f"{shown.mean() / clean.mean():.2f}"
    if len(rows) < 2:
        return ratio
    drawn = np.random.default_rng(0).integers(0, len(rows), (10_000, len(rows)))
    means = shown[drawn].mean(axis=1) / np.maximum(clean[drawn].mean(axis=1), 1e-9)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{ratio} ({low:.2f} to {high:.2f})"


def write_page(world: World, cells: pd.DataFrame) -> None:
    """Write the results page from the cells that are there."""
    cells = cells.set_index("cell", drop=False)
    ndcg_cap, taken = cells.loc["ndcg cap"], cells.loc["clean", "honest taken"]
    attacks = cells[cells["kind"].notna()]
    clients = {"own": "an address each", "one": "one address"}
    attacks = attacks.assign(
        order=attacks["kind"].map({kind: place for place, kind in enumerate(KINDS)}),
        honest=attacks["honest taken"] / len(world.of_feedback),
        client=attacks["client"].map(clients),
        known=attacks["known"].astype(bool),
        defences=attacks["defences"].astype(bool),
    )
    known = attacks["known"]
    deviation, doubled = noise(clean_exposures(world))
    change = ndcg_cap["after"] / ndcg_cap["before"] - 1
    lines = [
        "# Exposure of attacked products",
        "",
        "`python -m benchmarks.shilling`; protocol in that module, defences in the "
        f"[threat model](../../docs/threat-model.md#false-profiles). {world.profiles:,} honest "
        f"profiles; {len(world.of_feedback):,} of them are known from feedback alone, and the "
        "share of these that goes to quarantine is *honest profiles taken*. False profiles are "
        "given as a share of the honest ones. Exposures are means over the targets; a multiple of "
        "the clean value has the 95 % interval over the targets (bootstrap). *Clean* is the mean "
        f"of {CLEAN} trainings without an attack, with all defences. *Held*: in how many cases the "
        "check of exposure would have kept the trained model from promotion and a refresh from "
        "being published, so that the exposure in the table is never served (– not measured).",
        "",
        *conclusion(attacks),
        "",
        "## Products that first pages show",
        "",
        *table_of(attacks[known]),
        "",
        "## A product that hardly sells",
        "",
        *table_of(attacks[~known]),
        "",
        "## Without an attack",
        "",
        f"Of the honest profiles {taken:.0f} are taken. NDCG@10 of the shop's own customers on the "
        f"test window is {ndcg_cap['before']:.4f} without defences and {ndcg_cap['after']:.4f} "
        f"with the limits of influence ({change:+.1%}; 95 % interval of the difference "
        f"{ndcg_cap['low']:+.4f} to {ndcg_cap['high']:+.4f}).",
        "",
        "## What was chosen on what",
        "",
        "The constants of the detection (windows, limit, number left, forest) were chosen on other "
        "targets and seeds (`TUNED` in the module), with all kinds of attack, in this shop and in "
        "that of every fourth customer. The kinds and the honest feedback are the same as here, "
        "and the limit was raised after the detection took twelve honest visitors of this shop, so "
        "the figures without an attack are not independent. Such visitors were copies of one "
        "wholesaler, who sent the same two products twelve times on one day; of visits on one day "
        "one counts now. The attacks cover the newest eight weeks, which is also the longest "
        "window of the detection: an attack that lies across two windows is found less well.",
        "",
        "Training alone moves the exposure of such products: without an attack, the standard "
        f"deviation over the seeds is {deviation:.1f} of the product's mean (median), and in "
        f"{doubled:.0%} of the trainings a product has twice its mean. With 558 customers, 0.2 % "
        "is one page. So single targets say nothing; an earlier version of this page had two for "
        "each attack.",
        "",
    ]
    (RESULTS / "shilling.md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the shop and the cells")
    parser.add_argument("--tune", action="store_true", help="the tuning targets; writes no page")
    parser.add_argument("--stop", help="HH:MM at which no further cell is begun")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    world = build_world(arguments.work)
    file = arguments.work / ("tuning.jsonl" if arguments.tune else "cells.jsonl")
    cells = run_cells(world, file, arguments.tune, arguments.stop)
    if not arguments.tune:
        write_page(world, cells)


if __name__ == "__main__":
    main()
