"""A business objective and exposure bounds on a real shop: benchmarks/results/objective.md.

    python -m benchmarks.objective SHOP   # a folder with models and params.yaml

The model was fitted before the test window. **Objective**: ``bowerbird objective --by price``, each
shopper who bought in the window once, the list at the moment before. **Exposure**: shoppers of the
window come in random order, several times each; between two readings of the controller are ten
lists. The group is the category with the largest exposure without rules; the bounds are half and
twice that. NDCG is of the last thousand lists, of the same shoppers with and without the rule; its
intervals take the lists of one shopper as dependent. No lists were shown, so nothing is estimated
off-policy here.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.complete_journey import RESULTS
from components.arrays import DoubleArray
from components.evaluation.off_policy import Z
from components.settings import Serve, load_settings
from serving.events.tables import SECOND
from serving.filters.conditions import Has
from serving.filters.expression import Schema
from serving.merchandising.estimate import ndcg_of
from serving.merchandising.exposure_control import NEWEST, ExposureControl, place_weights
from serving.merchandising.objective import table_of, try_weights
from serving.merchandising.rulebook import Numbered, Rulebook
from serving.merchandising.rules import Rule
from serving.profiles.history import History
from serving.profiles.profiles import BaseProfiles
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Request

WEIGHTS = (0.1, 0.25, 0.5, 1.0)
LISTS, BETWEEN, K = 2_000, 10, 10
Buyer = tuple[History, frozenset[int]]


def buyers(engine: Engine, file: Path) -> list[Buyer]:
    """Return the shoppers of the test window: the history before it, and what they bought in it."""
    until, base = engine.model.trained_until or 0, BaseProfiles.load(file, engine.items)
    found = []
    for user in base.users:
        events = base.get(user)
        later = events.times > until
        if later.any():
            past = events.pick(~later)
            history = History(past.items, past.times, **past.optional(), now=until)
            history = replace(history, events=None)
            found.append((history, frozenset(events.items[later].tolist())))
    return found


def served(
    pipeline: Pipeline, people: list[Buyer], order: np.ndarray, group: str, rule: Rule | None
) -> tuple[DoubleArray, DoubleArray]:
    """Return the exposure of a category's products in each list, float (n,), and its NDCG."""
    engine, schema = pipeline.engine, Schema()
    numbered = [] if rule is None else [Numbered("r", 1, rule)]
    control = ExposureControl(None, schema)  # type: ignore[arg-type]  # nothing is read
    book = Rulebook(numbered, schema, control.offsets)
    members = engine.masks.of(Has("category", (group.casefold(),)))
    shares, scores = [], []
    for start in range(0, len(order), BETWEEN):
        steps = book.steps("home", dict)
        some = [people[at] for at in order[start : start + BETWEEN]]
        lists = pipeline.run([Request(history, K, steps=steps) for history, _ in some])
        for (_, bought), response in zip(some, lists, strict=True):
            shares.append(float(place_weights(K)[members[response.codes]].sum()))
            scores.append(ndcg_of(response.codes, bought, K))
        counted = [
            {"item_ids": one.ids, "rules": one.rules, "timestamp": (start + at) * SECOND}
            for at, one in enumerate(lists)
        ]
        control.count(counted, numbered, engine)
    return np.array(shares), np.array(scores)


def exposure(folder: Path) -> list[str]:
    """Return the table of exposure rules."""
    engine = Engine.load(folder / "models/hybrid", "1")
    pipeline = Pipeline(engine, Serve())
    people = buyers(engine, folder / "models/profiles/profiles.parquet")
    order = np.random.default_rng(0).integers(0, len(people), LISTS)
    group = largest(pipeline, people)
    plain, before = served(pipeline, people, order, group, None)
    usual = float(plain.mean())
    lines = [
        f"The category {group} has {usual:.1%} of the exposure without rules; {len(people)} "
        f"shoppers, {LISTS:,} lists. {NEWEST:,} newest lists; NDCG without the rule "
        f"{before[-NEWEST:].mean():.4f}.",
        "",
        "| rule | share, newest lists | share, all lists | change in NDCG |",
        "|---|---|---|---|",
    ]
    for name, bounds in (
        (f"at least {2 * usual:.1%}", {"at_least": 2 * usual}),
        (f"at most {usual / 2:.1%}", {"at_most": usual / 2}),
    ):
        where = f'category = "{group}"'
        rule = Rule.model_validate({"name": "x", "action": "exposure", "where": where, **bounds})
        shares, scores = served(pipeline, people, order, group, rule)
        change = (scores - before)[-NEWEST:]
        # Lists of one shopper depend on each other.
        of_shopper = np.bincount(order[-NEWEST:], change - change.mean())
        half = Z * float(np.sqrt((of_shopper**2).sum())) / len(change)
        lines.append(
            f"| {name} | {shares[-NEWEST:].mean():.1%} | {shares.mean():.1%} | "
            f"{change.mean():+.4f} [{change.mean() - half:+.4f}, {change.mean() + half:+.4f}] |"
        )
    return lines


def largest(pipeline: Pipeline, people: list[Buyer]) -> str:
    """Return the main category with the largest exposure."""
    names = pipeline.engine.model.catalogue.table["main_category"].to_numpy()
    found: dict[str, float] = {}
    for response in pipeline.run([Request(history, K) for history, _ in people[:200]]):
        for code, weight in zip(response.codes, place_weights(K), strict=False):
            if isinstance(names[code], str):
                found[names[code]] = found.get(names[code], 0.0) + float(weight)
    return max(found, key=lambda name: found[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", type=Path)
    folder = parser.parse_args().shop
    settings = load_settings(folder / "params.yaml")
    found = try_weights(settings, folder, "price", WEIGHTS, None, "home", K, 2_000)
    lines = [
        "# A business objective and exposure bounds",
        "",
        "Made by `python -m benchmarks.objective`, whose docstring gives the protocol; 95 % "
        "intervals.",
        "",
        "## Price as the objective",
        "",
        table_of("price", WEIGHTS, found),
        "",
        "## Exposure of one category within bounds",
        "",
        *exposure(folder),
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "objective.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
