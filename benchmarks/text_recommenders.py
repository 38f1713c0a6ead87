"""Language models that recommend, as parts of the hybrid.

    python -m benchmarks.text_recommenders FOLDER            # results/text_recommenders_NAME.md
    python -m benchmarks.text_recommenders FOLDER --causal   # results/causal_recommenders_NAME.md

FOLDER: a shop's, with ``data/prepared``, split by time; or one as ``benchmarks.leave_one_out``
reads it, judged by its protocol. Vectors of the texts: the packaged encoder's. At most USERS users
with a target in the window, CAUSAL_USERS with ``--causal``, or ``--users``, drawn at random; the
whole catalogue is ranked.

Each row is the hybrid over BASE with one candidate more:

- ``cross_encoder``: the cross-encoder distilled into vectors, ``models/cross_encoder.py``;
- ``own scores``: the cross-encoder itself reads the first CROSS items of FIRST;
- ``likelihood``: SmolLM2 with adapters trained on "bought these, then that" reads the first CAUSAL
  items of FIRST;
- ``states``: the cosine of its states after the history and after each of those items, whitened.

Every part learns from what lies before the window alone. On the validation window the ranker learns
from one half of the users and is judged on the other, and the reverse (``benchmarks.two_shops``).
The test window is looked at only for the parts that gain on validation. NDCG@10 and recall@10 with
95 % intervals; seconds are processor time of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from benchmarks.leave_one_out import chosen_settings, read, vectors, with_values
from benchmarks.repeat_purchases import Row, judged
from benchmarks.two_shops import HYBRID, SAMPLES, SEED, Shop, table
from components.arrays import FloatArray, IntArray
from components.data.dataset import (
    DAY,
    Catalogue,
    Histories,
    Interactions,
    Prepared,
    item_text,
    load_prepared,
)
from components.data.holdout import Task, Window, window_task
from components.evaluation.protocol import interval, some_users
from components.language.causal_recommender import CausalRecommender
from components.language.cross_encoder import Lists
from components.language.packaged import packaged_folder
from components.recommenders.base import KeepsCheckpoint, Recommender
from components.recommenders.factory import build
from components.recommenders.models.content import whitened, whitening
from components.recommenders.models.cross_encoder import (
    DistilledCrossEncoder,
    newest,
    purchases,
)
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import load_settings

RESULTS = Path(__file__).parent / "results"
CACHE = Path("var/benchmarks")
BASE = ("popularity", "item_neighbours", "matrix_factorisation", "cease", "content", "tfidf")
FIRST, CROSS, CAUSAL = "cease", 50, 10
USERS, CAUSAL_USERS = 400, 120
PURCHASES, TOKENS = 1000, 48
"""Of the cross-encoder's training, and as many of its distillation; tokens of a pair."""
LISTS, HELD_OUT, STEPS, BATCH = 160, 24, 16, 8
"""Of the adapters' training."""
PRODUCTS, COORDINATES = 300, 64
"""Most sold products that the states are whitened by, in so many coordinates."""
PAST = 4
PARTS = {
    "cross_encoder": "cross_encoder, distilled",
    "own": f"cross-encoder's own scores of the first {CROSS}",
    "likelihood": f"causal model's likelihood of the first {CAUSAL}",
    "states": f"cosine of the causal model's states, first {CAUSAL}",
}


class FirstItems(Recommender):
    """Scores of the first items of another model, which a slow one reads; it knows no others."""

    name = "first_items"

    def __init__(
        self, base: Recommender, slow: Callable[[Lists], FloatArray], n: int, n_items: int
    ) -> None:
        self.base, self.slow, self.n, self.n_items = base, slow, n, n_items
        self.kept: dict[bytes, tuple[Any, FloatArray]] = {}

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """The base is fitted already."""
        return self

    def score(self, histories: Histories) -> FloatArray:
        ends = zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
        keys = [histories.items[start:stop].tobytes() for start, stop in ends]
        new = np.array([row for row, key in enumerate(keys) if key not in self.kept], dtype=int)
        if len(new):
            part = histories.pick(new)
            ids, _ = self.base.recommend(part, self.n)
            found = self.slow(Lists(newest(part, PAST), ids))
            self.kept |= {keys[row]: (ids[n], found[n]) for n, row in enumerate(new)}
        scores = np.full((len(histories), self.n_items), -1e6, dtype=np.float32)
        for row, key in enumerate(keys):
            ids, found = self.kept[key]
            there = ids >= 0
            scores[row] = found[there].min(initial=0) - 1
            scores[row, ids[there]] = found[there]
        return scores


class StateCosine:
    """Cosine of the causal model's states after a history and after each product alone.

    States lie in a narrow cone: they are whitened in their first coordinates, by some products.
    """

    def __init__(self, model: CausalRecommender, products: IntArray) -> None:
        self.model = model
        self.mean, projection = whitening(model.states(products[:, None]))
        self.projection = projection[:, :COORDINATES]
        self.kept: dict[int, FloatArray] = {}

    def score(self, lists: Lists) -> FloatArray:
        """Return float32 (lists, m)."""
        new = np.setdiff1d(lists.candidates[lists.candidates >= 0], list(self.kept))
        if len(new):
            self.kept |= dict(zip(new.tolist(), self._vectors(new[:, None]), strict=True))
        nothing = np.zeros(self.projection.shape[1], dtype=np.float32)
        items = np.array([self.kept.get(code, nothing) for code in lists.candidates.ravel()])
        items = items.reshape(*lists.candidates.shape, -1)
        return np.einsum("nd,nmd->nm", self._vectors(lists.past), items)

    def _vectors(self, past: IntArray) -> FloatArray:
        return whitened(self.model.states(past), self.mean, self.projection)


class Case(Shop):
    """A shop of ``two_shops`` whose candidates are fitted here."""

    def __init__(self, folder: Path, causal: bool, users: int, n_purchases: int) -> None:
        self.root, self.causal, self.users = folder.absolute(), causal, users
        settings = load_settings()
        if (folder / "data/prepared").exists():
            found = load_prepared(folder / "data/prepared")
            table = found.catalogue.table
            own = Catalogue(table, vectors(Path(folder.name), item_text(table)))
            self.prepared = replace(found, catalogue=own)
        else:
            x, catalogue = read(folder)
            settings = chosen_settings(settings)
            last = int(x.times.max())  # the validation item of each user lies a day before it
            self.prepared = Prepared(x, catalogue, pd.DataFrame(), last - DAY, last, last + DAY)
        sized = {"purchases": n_purchases, "distilled": n_purchases, "past": PAST}
        sized["max_length"] = TOKENS
        self.settings = with_values(settings, "cross_encoder", sized)
        self.candidates = cache(self._fitted)
        self.task = cache(self._task)  # type: ignore[method-assign]
        self.seconds: dict[str, float] = {}
        self.facts: list[str] = []

    def _task(self, window: Window, exclude_seen: bool) -> Task:
        return some_users(window_task(self.prepared, window, exclude_seen), self.users, SEED)

    def _fitted(self, window: Window) -> dict[str, Recommender]:
        start = {"validation": self.prepared.validation_start, "test": self.prepared.test_start}
        x, catalogue = self.prepared.interactions, self.prepared.catalogue
        train, n = x.where(x.times < start[window]), len(catalogue)
        found: dict[str, Recommender] = {}
        for name in BASE if self.causal else (*BASE, "cross_encoder"):
            began = time.process_time()
            model = build(name, self.settings)
            if isinstance(model, KeepsCheckpoint):
                model.keep_checkpoint(CACHE / self.root.name / window / name)
            found[name] = model.fit(train, catalogue)
            self._took(name, window, began)
        if self.causal:
            causal = self._causal(train, window)
            found["likelihood"] = FirstItems(found[FIRST], causal.score, CAUSAL, n)
            best = np.argsort(-np.bincount(train.items, minlength=n), kind="stable")
            states = StateCosine(causal, best[:PRODUCTS])
            found["states"] = FirstItems(found[FIRST], states.score, CAUSAL, n)
            return found
        cross = found["cross_encoder"]
        assert isinstance(cross, DistilledCrossEncoder)
        self._note(
            f"{window}: trained on {cross.settings.purchases:,} purchases, the cross-encoder's "
            f"loss is {np.mean(cross.losses[:40]):.3f} in the first "
            f"and {np.mean(cross.losses[-40:]):.3f} in the last 40 of {len(cross.losses)} steps; "
            f"agreement of the vector pair {cross.agreement:.2f}."
        )
        found["own"] = FirstItems(found[FIRST], cross.reader.score, CROSS, n)
        return found

    def _note(self, fact: str) -> None:
        self.facts.append(fact)
        print(fact, flush=True)

    def _took(self, name: str, window: str, began: float) -> None:
        self.seconds[f"{name} ({window})"] = time.process_time() - began
        print(f"{name}: {time.process_time() - began:.0f} s", flush=True)

    def _causal(self, train: Interactions, window: Window) -> CausalRecommender:
        """Return SmolLM2 with adapters trained on the purchases of ``train``."""
        began = time.process_time()
        titles = self.prepared.catalogue.table["title"].fillna("").str.lower().tolist()
        model = CausalRecommender(packaged_folder("smollm2-135m-instruct"), titles, seed=SEED)
        histories, bought, _ = purchases(train, PAST, LISTS + HELD_OUT, SEED)
        lists = Lists(newest(histories, PAST), bought[:, None])
        held_out = lists.take(slice(0, HELD_OUT))
        before = model.held_out_loss(held_out, BATCH)
        log = model.fit(
            *(lists.take(slice(HELD_OUT, None)), held_out, STEPS, BATCH, 3e-4),
            CACHE / self.root.name / window / "causal",
            every=8,
        )
        self._took("adapters", window, began)
        after = min(one["held_out"] for one in log if "held_out" in one)
        self._note(
            f"{window}: SmolLM2's loss of the titles of {HELD_OUT} held-out purchases falls from "
            f"{before:.3f} to {after:.3f} per token in {len(log)} steps of {BATCH} purchases."
        )
        return model


def milliseconds(model: Recommender, task: Task) -> float:
    """Return the processor time of a list, one history at a time."""
    singles = [task.histories.take(slice(row, row + 1)) for row in range(min(100, len(task.users)))]
    model.recommend(singles[0], 10)
    began = time.process_time()
    for one in singles:
        model.recommend(one, 10)
    return 1000 * (time.process_time() - began) / len(singles)


def measured(case: Case) -> None:
    """Judge the parts and write the page, after each of them."""
    exclude, rank, base = case.settings.train.exclude_seen, case.settings.rank, list(BASE)
    task = case.task("validation", exclude)
    candidates = case.candidates("validation")
    parts = [name for name in PARTS if name in candidates]
    singles = [
        judged(f"{PARTS.get(name, name)}, alone", candidates[name], task, exclude)
        for name in (FIRST, "content", "tfidf", *parts)
    ]
    rows: list[Row] = []
    gains: list[tuple[Row, list[str], Hybrid]] = []
    costs = []
    lines: list[str] = []
    for part in ("", *parts):
        names = [*base, part] if part else base
        title = f"with {PARTS[part]}" if part else HYBRID
        began = time.process_time()
        row, learned = case.crossed(title, rank, names, exclude)
        case._took(title, "judged on validation", began)
        rows.append(row)
        if not part or interval(row.ndcg - rows[0].ndcg, SAMPLES, SEED)[0] > 0:
            gains.append((row, names, learned))
        if part in ("", "cross_encoder"):
            costs.append(f"{title} {milliseconds(learned, task):.1f}")
        lines = [
            f"## Validation, {len(task.users):,} users",
            "",
            *table([*singles, *rows], rows[0]),
            "",
            *[f"- {fact}" for fact in case.facts],
            "- Seconds: " + ", ".join(f"{n} {s:.0f}" for n, s in case.seconds.items()) + ".",
            f"- Milliseconds a list, one history at a time: {', '.join(costs)}.",
            "",
        ]
        write(case, lines)
    if len(gains) == 1:
        write(case, [*lines, "Nothing gains, so the test window was not looked at.", ""])
        return
    test = case.task("test", exclude)
    found = [
        judged(row.name, case.hybrid(rank, "test", names, learned), test, exclude)
        for row, names, learned in gains
    ]
    write(case, [*lines, f"## Test, {len(test.users):,} users", "", *table(found, found[0]), ""])


def write(case: Case, lines: list[str]) -> None:
    """Write the page of a case."""
    kind = "causal" if case.causal else "text"
    head = [
        f"# Language models that recommend: {case.root.name}",
        "",
        "Made by `python -m benchmarks.text_recommenders`, whose docstring gives the protocol.",
        "",
    ]
    (RESULTS / f"{kind}_recommenders_{case.root.name}.md").write_text("\n".join([*head, *lines]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--causal", action="store_true", help="the causal model's parts")
    parser.add_argument("--users", type=int, help="most users of a window")
    parser.add_argument(
        "--purchases", type=int, default=PURCHASES, help="that the cross-encoder learns from"
    )
    given = parser.parse_args()
    users = given.users or (CAUSAL_USERS if given.causal else USERS)
    measured(Case(given.folder, given.causal, users, given.purchases))


if __name__ == "__main__":
    main()
