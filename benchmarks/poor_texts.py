"""Do pseudo-texts of products with poor texts help?

    python -m benchmarks.poor_texts FOLDER [--products 500] [--hybrid]

Result: benchmarks/results/poor_texts_NAME.md.

FOLDER: a shop's, with ``data/prepared``, split by time. ``augment.texts`` (SmolLM2) writes kind,
material and use of the products with the poorest texts; the packaged encoder's vectors are mixed
with those of what it wrote. Only the validation window is looked at, with all its users; the whole
catalogue is ranked.

- **As it is**: models learn from all purchases before the window.
- **Cold**: half of the products with a pseudo-text, drawn at random, are taken out of what models
  learn from and out of the histories. ``cold`` counts only targets among them.
- **Cold, among themselves**: the same models rank those products alone, for users with a target
  among them.

Rows: ``content`` and, with ``--hybrid``, the hybrid over BASE of ``benchmarks.text_recommenders``:
without pseudo-texts (the base of the differences), with them, and with *shuffled* ones: each
product has the text of another one with the same weight, so that a gain must come from what is
written. The weight is ``augment.weight`` times the confidence; *chosen*: ``augment.weight`` is the
best of WEIGHTS on one half of the users and judged on the other, and the reverse. The hybrid's
ranker learns from one half and is judged on the other, and the reverse. *As words*: TF-IDF reads
the pseudo-text after the own text, unweighted; no stage does that.

NDCG@10 with 95 % intervals by a bootstrap over users; p by Fisher's randomisation test.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.leave_one_out import vectors as cached_vectors
from benchmarks.text_recommenders import BASE, RESULTS
from benchmarks.two_shops import SAMPLES, SEED, Shop
from components.arrays import BoolArray, DoubleArray, FloatArray, Int32Array, IntArray
from components.data.dataset import Catalogue, Prepared, item_text, load_prepared
from components.data.holdout import Task, window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, paired_p_value
from components.language.encoder import TextEncoder
from components.language.packaged import ENGLISH
from components.language.pseudo_texts import FIELDS, chosen, mixed, pseudo_texts
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.settings import Settings, load_settings

WRITER = "smollm2-135m-instruct"
PRODUCTS, WEIGHTS = 500, (0.1, 0.25, 0.5)
NONE = "without"


@dataclass(frozen=True)
class Texts:
    """What is known of the products' texts. made: of ``pseudo_texts``; generated: its vectors."""

    catalogue: Catalogue
    made: pd.DataFrame
    generated: FloatArray

    def shuffled(self) -> Texts:
        """Return each product with the text of another one."""
        order = np.random.default_rng(SEED).permutation(len(self.made))
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)
        texts = self.made["text"].to_numpy()[other]
        return replace(self, made=self.made.assign(text=texts), generated=self.generated[other])

    def in_vectors(self, factor: float = 1.0) -> Catalogue:
        """Return the catalogue with mixed vectors. factor: on the weights."""
        made = self.made.assign(weight=factor * self.made["weight"])
        assert self.catalogue.vectors is not None
        return replace(self.catalogue, vectors=mixed(self.catalogue.vectors, made, self.generated))

    def in_words(self) -> Catalogue:
        """Return the catalogue with the pseudo-texts as descriptions."""
        table = self.catalogue.table.copy()
        place = table.columns.get_loc("description")
        table.iloc[self.made["item"], place] = self.made["text"].to_numpy()
        return replace(self.catalogue, table=table)


class Case(Shop):
    """A shop of ``two_shops`` without some products' purchases."""

    def __init__(
        self, prepared: Prepared, settings: Settings, cold: BoolArray, among: bool = False
    ) -> None:
        """among: only the cold products are ranked."""
        self.available = cold if among else None
        self.settings, self.exclude = settings, settings.train.exclude_seen
        whole = window_task(prepared, "validation", self.exclude)
        x = prepared.interactions
        self.prepared = replace(prepared, interactions=x.where(~cold[x.items]))
        early = self.prepared.interactions.where(
            x.times[~cold[x.items]] < prepared.validation_start
        )
        histories = early.histories(whole.users, whole.histories.now)
        self.asked = Task(whole.users, histories, whole.targets)
        if among:
            rows, targets = self.asked.only(cold)
            self.asked = Task(whole.users[rows], histories.pick(rows), targets)
        self.train = early
        self.catalogue = prepared.catalogue

    def fitted(self, name: str, catalogue: Catalogue) -> Recommender:
        """Return a model over a catalogue."""
        return build(name, self.settings).fit(self.train, catalogue)

    def halves(self) -> Iterator[tuple[BoolArray, BoolArray]]:
        """Yield users to learn from and users to judge, twice."""
        first: BoolArray = np.random.default_rng(SEED).random(len(self.asked.users)) < 0.5
        yield ~first, first
        yield first, ~first

    def lists(self, model: Recommender, task: Task) -> Int32Array:
        """Return int32 (users, 10): the lists of a model."""
        return model.recommend(task.histories, 10, self.exclude, self.available)[0]

    def single(self, name: str, catalogue: Catalogue) -> Int32Array:
        """Return int32 (users, 10): the lists of one model."""
        return self.lists(self.fitted(name, catalogue), self.asked)

    def hybrid_lists(self, changed: dict[str, Catalogue]) -> Int32Array:
        """Return int32 (users, 10): the hybrid's lists. changed: catalogues of some models."""
        over = dict.fromkeys(BASE, self.catalogue) | changed
        found = {name: self.fitted(name, catalogue) for name, catalogue in over.items()}
        self.candidates = lambda _: found  # type: ignore[assignment]
        model = self.hybrid(self.settings.rank, "validation", list(BASE))
        ids = np.empty((len(self.asked.users), 10), dtype=np.int32)
        for learned, judged in self.halves():
            parts = [
                Task(
                    self.asked.users[rows],
                    self.asked.histories.pick(rows),
                    self.asked.targets[rows],
                )
                for rows in (np.flatnonzero(learned), np.flatnonzero(judged))
            ]
            model.fit_ranker(parts[0].histories, parts[0].targets, self.exclude)
            ids[judged] = self.lists(model, parts[1])
        return ids


def rows_of(case: Case, texts: Texts, hybrid: bool) -> Iterator[tuple[str, str, Int32Array]]:
    """Yield model, variant and lists; ``NONE`` comes first of each model."""
    shuffled = texts.shuffled()
    variants = {"pseudo-texts": texts, "shuffled": shuffled}
    yield "content", NONE, case.single("content", texts.catalogue)
    for name, one in variants.items():
        yield "content", name, case.single("content", one.in_vectors())
    for name, one in variants.items():
        usual = case.settings.augment.weight
        found = [case.single("content", one.in_vectors(w / usual)) for w in WEIGHTS]
        each = np.stack([ndcg(ids, case.asked.targets) for ids in found])
        ids = np.empty_like(found[0])
        for learned, judged in case.halves():
            ids[judged] = found[int(each[:, learned].mean(axis=1).argmax())][judged]
        yield "content", f"{name}, weight chosen", ids
    yield "tfidf", NONE, case.single("tfidf", texts.catalogue)
    for name, one in variants.items():
        yield "tfidf", f"{name}, as words", case.single("tfidf", one.in_words())
    if not hybrid:
        return
    yield "hybrid", NONE, case.hybrid_lists({})
    for name, one in variants.items():
        yield "hybrid", name, case.hybrid_lists({"content": one.in_vectors()})


def measured(case: Case, texts: Texts, cold: BoolArray, hybrid: bool) -> list[str]:
    """Return the lines of a table."""
    users: dict[str, tuple[IntArray, sp.csr_matrix]]
    users = {"all": (np.arange(len(case.asked.users)), case.asked.targets)}
    if cold.any() and case.available is None:
        users["cold"] = case.asked.only(cold)
    columns = [
        f"NDCG@10, {name} targets, {len(rows):,} users | minus without | p"
        for name, (rows, _) in users.items()
    ]
    out = [f"| model | {' | '.join(columns)} |", f"|---|{'---|---|---|' * len(users)}"]
    base: dict[str, DoubleArray] = {}
    for model, variant, ids in rows_of(case, texts, hybrid):
        cells = []
        for name, (rows, targets) in users.items():
            each = ndcg(ids[rows], targets)
            low, high = interval(each, SAMPLES, SEED)
            cells.append(f"{each.mean():.4f} ({low:.4f} to {high:.4f})")
            if variant == NONE:
                base[name] = each
                cells += ["", ""]
                continue
            low, high = interval(each - base[name], SAMPLES, SEED)
            difference = each.mean() - base[name].mean()
            cells.append(f"{difference:+.4f} ({low:+.4f} to {high:+.4f})")
            cells.append(f"{paired_p_value(base[name], each):.2g}")
        out.append(f"| {model}, {variant} | {' | '.join(cells)} |")
        print(out[-1], flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--products", type=int, default=PRODUCTS, help="most that are written about"
    )
    parser.add_argument("--hybrid", action="store_true", help="also the hybrid: minutes a row")
    given = parser.parse_args()
    folder = given.folder
    settings, cache = load_settings(), Path("var/benchmarks") / folder.name
    prepared = load_prepared(folder / "data/prepared")
    table = prepared.catalogue.table
    own = cached_vectors(Path(folder.name), item_text(table))
    prepared = replace(prepared, catalogue=Catalogue(table, own))
    changed = {"texts": WRITER, "most_texts": given.products}
    augment = settings.augment.model_copy(update=changed)
    encoder = TextEncoder(ENGLISH)
    made = pseudo_texts(table, encoder.encode, augment, settings.seed, cache / "written.jsonl")
    texts = Texts(prepared.catalogue, made, encoder.encode(made["text"].tolist()))
    cold = np.zeros(len(table), dtype=bool)
    cold[made["item"]] = np.random.default_rng(SEED).random(len(made)) < 0.5
    shares = ", ".join(f"{name} {made[name].ne('').mean():.0%}" for name in FIELDS)
    asked = len(chosen(table, augment, settings.seed))
    lines = [
        f"# Pseudo-texts: {folder.name}",
        "",
        "Made by `python -m benchmarks.poor_texts`, whose docstring gives the protocol.",
        "",
        f"{WRITER} wrote about {asked:,} of {len(table):,} products, the poorest of those with "
        f"fewer than {augment.poor_words} words. {len(made):,} pseudo-texts pass the filter and "
        f"have a confidence of {augment.min_confidence} or more; of these have {shares}.",
    ]
    nothing = np.zeros_like(cold)
    for title, taken_out, among in (
        ("As it is", nothing, False),
        ("Cold", cold, False),
        ("Cold, among themselves", cold, True),
    ):
        case = Case(prepared, settings, taken_out, among)
        lines += ["", f"## {title}", "", *measured(case, texts, taken_out, given.hybrid)]
        (RESULTS / f"poor_texts_{folder.name}.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
