"""Effect of fraudulent feedback: popular items, recommendations, and the promotion of a version.

    python -m benchmarks.poisoning

Every seventh customer of the embedded shop, with the real stages. Two attacks:

1. *Promotion*: 1,400 purchases from one address in one day, none of them authenticated. Made-up
   users buy a popular product and then two that rarely sell: some before the validation window
   (used by the candidates), some in it (used by the ranker), some in the test window (used for the
   comparison). The challenger is trained with these events, the champion without.
2. *Shelf*: purchases of one product that rarely sells on the newest day, from one address and from
   many.

"Without the limits" switches off the limits of ``validate`` and compares as before they existed:
everybody counts, and a mean gain above 0 is enough. The gain in truth is that of the shop's own
users.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from components.data import ingest, split, validation
from components.data.dataset import DAY, Prepared, load_prepared
from components.data.schema import INTERACTIONS
from components.evaluation.compare import Comparison, compare
from components.recommenders import rank as ranking
from components.recommenders import refit, train
from components.recommenders.models.popularity import Popularity
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings, load_settings

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
ENOUGH = 1_000_000_000
PAGE, VISITORS = 10, 1000


def small_shop(root: Path, every: int = 7) -> Settings:
    """Put every seventh customer's lines into ``root``; return the settings of the small shop.

    every: another share of the customers.
    """
    settings = load_settings(REPOSITORY / "params.yaml")
    lines = pd.read_parquet(REPOSITORY / "datasets/online-retail/2009-2010.parquet")
    lines[lines["Customer ID"] % every == 0].to_parquet(root / "lines.parquet")
    own = settings.ingest.interactions[0].model_copy(update={"path": Path("lines.parquet")})
    changes = {
        "ingest": settings.ingest.model_copy(update={"interactions": [own], "reviews": []}),
        "train": settings.train.model_copy(
            update={"candidates": ["popularity", "item_neighbours", "content"]}
        ),
        "rank": settings.rank.model_copy(update={"trees": 40}),
    }
    return settings.model_copy(update=changes)


def without_limits(settings: Settings) -> Settings:
    """Return the settings with limits that nobody reaches."""
    names = ("max_user_item_day", "max_client_item_day", "max_client_day", "max_client_quantity")
    off = settings.validate_.model_copy(update=dict.fromkeys(names, ENOUGH))
    return settings.model_copy(update={"validate_": off})


def prepare(settings: Settings, root: Path, feedback: pd.DataFrame | None) -> Prepared:
    """Return the prepared shop with this feedback, exported on the day after the last event."""
    folder = root / settings.ingest.feedback
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (root / "reports").mkdir(exist_ok=True)
    if feedback is not None:
        received = feedback["timestamp"].max().strftime("%Y-%m-%d")
        table = pa.Table.from_pandas(feedback, schema=INTERACTIONS, preserve_index=False)
        pq.write_table(table, folder / f"events-{received}.parquet")
    with contextlib.redirect_stdout(io.StringIO()):
        for stage in (ingest, validation, split):
            stage.run(settings, root)
    return load_prepared(root / "data/prepared")


def fit_both(settings: Settings, root: Path) -> None:
    """Fit the evaluated and the served model; the products' vectors are TF-IDF of their titles."""
    titles = pd.read_parquet(root / "data/prepared/items.parquet")["title"].fillna("")
    words = TfidfVectorizer().fit_transform(titles)
    vectors = TruncatedSVD(64, random_state=0).fit_transform(words).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    (root / "models/vectors").mkdir(parents=True, exist_ok=True)
    np.save(root / "models/vectors/items.npy", vectors)
    with contextlib.redirect_stdout(io.StringIO()):
        for stage in (train, ranking, refit):
            stage.run(settings, root)


def purchases(
    users: list[str], items: list[str], times: np.ndarray, clients: list[str]
) -> pd.DataFrame:
    """Return purchases nobody authenticated, as serving exports them."""
    n = len(users)
    return pd.DataFrame(
        {
            **dict.fromkeys(INTERACTIONS.names),
            "user_id": users,
            "item_id": items,
            "event": "purchase",
            "quantity": 1.0,
            "price": 1.0,
            "timestamp": pd.to_datetime(times.astype(np.int64), unit="s", utc=True),
            "client": clients,
            "authentication": "none",
            "source": "serving",
            "source_row": range(n),
        }
    ).astype({"rating": "float32"})


def rare(prepared: Prepared, n: int) -> list[str]:
    """Return n products that sold a few times only."""
    table = prepared.catalogue.table
    return table.loc[table["popularity"].between(3, 6), "item_id"].head(n).tolist()


def promotion_attack(prepared: Prepared, addresses: int = 1) -> pd.DataFrame:
    """Return 1,400 purchases of a lure and two targets, by made-up users."""
    lure, first, second = rare(prepared, 3)
    start, test, end = prepared.validation_start, prepared.test_start, prepared.end
    random = np.random.default_rng(0)
    # Users, when they buy the lure, when they buy the targets: seconds since 1970.
    groups = (
        (200, (start - 20 * DAY, start - 10 * DAY), (start - 9 * DAY, start)),
        (100, (start - 20 * DAY, start), (start, test)),
        (167, (test - 20 * DAY, test), (test, end)),
    )
    users, items, times = [], [], []
    for number, (size, before, after) in enumerate(groups):
        for one in range(size):
            users += [f"made-up-{number}-{one}"] * 3
            items += [lure, first, second]
            times += [random.uniform(*before), *random.uniform(*after, 2)]
    clients = [f"address {n % addresses}" for n in range(len(users))]
    return purchases(users, items, np.array(times), clients).head(1400)


def shelf_attack(prepared: Prepared, events: int, addresses: int) -> pd.DataFrame:
    """Return purchases of the rarest target on the newest day, each by a user of its own."""
    target = rare(prepared, 1)[0]
    times = prepared.end - 3600 + np.arange(events)
    users = [f"fresh-{n}" for n in range(events)]
    clients = [f"address {n % addresses}" for n in range(events)]
    return purchases(users, [target] * events, times, clients)


def shelf_rank(prepared: Prepared, settings: Settings, item: str) -> int:
    """Return the item's place among all products by what sells lately; 1 is first."""
    model = Popularity(settings.train.popularity).fit(prepared.interactions, prepared.catalogue)
    own = model.popularity[pd.Index(prepared.catalogue.ids).get_loc(item)]
    return int((model.popularity > own).sum()) + 1


def pages_with(root: Path, prepared: Prepared, items: list[str]) -> float:
    """Return the share of the shop's own users whose first page shows one of the items."""
    model = Hybrid.load(root / "models/served")
    users = np.flatnonzero(prepared.users["verified"].to_numpy())
    users = np.random.default_rng(0).permutation(users)[:VISITORS]
    ids, _ = model.recommend(prepared.interactions.histories(users, prepared.end), PAGE)
    wanted = pd.Index(prepared.catalogue.ids).get_indexer(items)
    return float(np.isin(ids, wanted).any(axis=1).mean())


def everybody(prepared: Prepared) -> Prepared:
    """Return the data as they were judged before: every user and event counts."""
    users = prepared.users.assign(verified=True)
    return replace(
        prepared, users=users, interactions=replace(prepared.interactions, authenticated=None)
    )


@dataclass(frozen=True)
class Outcome:
    """What became of an attack.

    kept: its events in the prepared data. rank: of its best target on the popular shelf. pages: the
    share of first pages with a target. judged: as it decides. truth: on the shop's own users.
    """

    kept: int
    rank: int
    pages: float
    judged: Comparison
    truth: Comparison
    promoted: bool


def promotion(
    settings: Settings, root: Path, champion: Path, attack: pd.DataFrame, limits: bool
) -> Outcome:
    """Train a challenger with the attack's events, judge it against the champion."""
    chosen = settings if limits else without_limits(settings)
    prepared = prepare(chosen, root, attack)
    targets = attack["item_id"][1:3].tolist()
    fit_both(chosen, root)
    truth = compare(champion, root / "models/hybrid", prepared, chosen)
    counted = prepared if limits else everybody(prepared)
    found = compare(champion, root / "models/hybrid", counted, chosen)
    made_up = prepared.users["user_id"].str.startswith("made-up-").to_numpy()
    return Outcome(
        int(made_up[prepared.interactions.users].sum()),
        min(shelf_rank(prepared, chosen, item) for item in targets),
        pages_with(root, prepared, targets),
        found,
        truth,
        found.better if limits else found.difference > 0,
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        root = Path(name)
        settings = small_shop(root)
        clean = prepare(settings, root, None)
        fit_both(settings, root)
        champion = root / "champion"
        shutil.copytree(root / "models/hybrid", champion)
        one, many = promotion_attack(clean), promotion_attack(clean, 200)
        targets = one["item_id"][1:3].tolist()
        lines = [
            "# What a stranger's feedback moves",
            "",
            "`python -m benchmarks.poisoning`; protocol in that module. "
            f"{len(clean.users):,} customers, {len(clean.catalogue):,} products.",
            "",
            "## A version that is promoted by 1,400 events",
            "",
            "| | kept | best target on the popular shelf | first pages with a target "
            "| users judged | gain, judged | gain in truth | promoted |",
            "|---|---|---|---|---|---|---|---|",
            f"| no attack | – | {min(shelf_rank(clean, settings, i) for i in targets):,} | "
            f"{pages_with(root, clean, targets):.1%} | – | – | – | – |",
        ]
        for label, attack, limits in (
            ("1 address, without the limits", one, False),
            ("1 address", one, True),
            ("200 addresses", many, True),
        ):
            found = promotion(settings, root, champion, attack, limits)
            lines.append(
                f"| {label} | {found.kept:,} | {found.rank:,} | {found.pages:.1%} | "
                f"{found.judged.users:,} | {_interval(found.judged)} | {_interval(found.truth)} | "
                f"{'yes' if found.promoted else 'no'} |"
            )
            print(lines[-1], flush=True)
        lines += [
            "",
            "## The popular shelf, by purchases of one day",
            "",
            "| events | addresses | rank without the limits | rank with them |",
            "|---|---|---|---|",
        ]
        item = rare(clean, 1)[0]
        lines.append(f"| 0 | – | {shelf_rank(clean, settings, item):,} | the same |")
        for events, addresses in ((80, 1), (124, 1), (124, 10), (124, 40)):
            attack = shelf_attack(clean, events, addresses)
            ranks = [
                shelf_rank(prepare(chosen, root, attack), chosen, item)
                for chosen in (without_limits(settings), settings)
            ]
            lines.append(f"| {events} | {addresses} | {ranks[0]:,} | {ranks[1]:,} |")
            print(lines[-1], flush=True)
    (RESULTS / "poisoning.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _interval(found: Comparison) -> str:
    return f"{found.difference:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


if __name__ == "__main__":
    main()
