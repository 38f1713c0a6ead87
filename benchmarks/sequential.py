"""What kinds of events and attributes of products bring SASRec: benchmarks/results/sequential.md.

    python -m benchmarks.sequential kinds
    python -m benchmarks.sequential attributes --shop FOLDER [--users 600] [--epochs 2]
    python -m benchmarks.sequential start --shop ../shared/data/amazon-beauty-5core

Kinds: simulated shops (no data set with views is packaged). In a visit a shopper has one need, a
group of products, and looks at one to four of its products that are popular and near to the
shopper's style; half of the visits begin with a product of another group. Two of five visits end
with the purchase of the product that was looked at last. After a purchase the next visit is, in
three of five cases, for the group that goes with it; without one the need stays in seven of ten
cases. So what comes next depends on whether the last product was bought: that is assumed, not
found, and the figures say only that the model finds it where it is there. A purchase follows a view
of the same product, so that a network without kinds can tell it by the repetition, unless the view
is not recorded, as without consent: there are shops with half of the views, too. Targets are what
is bought in the last 28 days and was not bought before.

Attributes: a shop's folder after ``bowerbird run`` whose products have some, such as that of
``benchmarks.complete_journey``. Because an epoch of all takes minutes, the models learn from a
sample of customers and for few epochs. Targets are what the same customers buy in the validation
window: all of it, what they had not bought before, and products that none of
them had bought, these ranked among such products alone, by NDCG@100 because a customer has one or
two of the tens of thousands. The test window is not used.

Start: ids alone on a folder as ``benchmarks.leave_one_out`` reads it, with its protocol; one model
for both targets, which learned from neither the validation items nor the test items. The id vectors
start at random or from co-occurrences (``cooccurrence``). START's width and learning rate are of a
few short trainings, judged on validation.

NDCG@10 else; intervals and differences are of 2,000 bootstrap samples of users, of the same users.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.leave_one_out import chosen_settings, read, without_encoder
from components.arrays import DoubleArray
from components.data.attributes import attribute_columns, name_of
from components.data.dataset import (
    DAY,
    Catalogue,
    Histories,
    Interactions,
    Prepared,
    load_prepared,
)
from components.data.event_kinds import EventKinds
from components.data.holdout import window_task
from components.data.schema import EVENTS
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, leave_one_out_task
from components.recommenders.models.sasrec.model import Sequential
from components.settings import Preprocess, Settings, load_settings

PARTS = ("kinds", "attributes", "start")
RESULTS = Path(__file__).parent / "results"
SAMPLES, SEED = 2000, 42
SHOPS, USERS, VISITS = 2, 1000, 16
GROUPS, OF_GROUP, STYLES = 30, 20, 3
VIEW, PURCHASE = EVENTS.index("view"), EVENTS.index("purchase")
WINDOW = 28 * DAY
ATTRIBUTES = {"texts": False, "texts and attributes": True}
START = {"words": 0, "id_dropout": 0.0, "dimensions": 64, "learning_rate": 3e-3, "epochs": 8}
"""What differs from the settings of ``benchmarks.leave_one_out``."""
NEVER_SOLD = "never sold, ranked among such products (NDCG@100)"

Variant = Callable[[Interactions], Interactions]
"""Returns the interactions as a model is to see them."""


def shop(seed: int, recorded: float = 1.0) -> Prepared:
    """Return a simulated shop with views and purchases; validation is its last 28 days.

    recorded: the share of the views that are in the data; all purchases are.
    """
    random = np.random.default_rng(seed)
    n_items = GROUPS * OF_GROUP
    group = np.repeat(np.arange(GROUPS), OF_GROUP)
    style = random.standard_normal((n_items, STYLES))
    appeal = random.standard_normal(n_items)
    goes_with = random.permutation(GROUPS)
    own_style = random.standard_normal((USERS, STYLES))
    taste = 1.5 * random.standard_normal((USERS, GROUPS))
    near = appeal - ((own_style[:, None] - style) ** 2).sum(axis=2)  # (users, items)
    users, rows = np.arange(USERS), []
    need, bought = np.zeros(USERS, dtype=int), np.ones(USERS, dtype=bool)
    now = random.integers(0, 10 * DAY, USERS)
    for visit in range(VISITS):
        drawn = np.argmax(taste + random.gumbel(size=taste.shape), axis=1)
        goes_on = random.random(USERS) < np.where(bought, 0.6, 0.7)
        going = np.where(bought, goes_with[need], need)
        need = np.where(goes_on & (visit > 0), going, drawn)
        other = np.argmax(appeal + random.gumbel(size=near.shape), axis=1)
        wanted = np.where(group == need[:, None], near, -np.inf) + random.gumbel(size=near.shape)
        looked = np.argsort(-wanted, axis=1)[:, :4]
        n = random.integers(1, 5, USERS)
        bought = random.random(USERS) < 0.4
        events = [(users[random.random(USERS) < 0.5], other, VIEW)]
        events += [(users[n > place], looked[:, place], VIEW) for place in range(4)]
        events.append((users[bought], looked[users, n - 1], PURCHASE))
        rows += [
            (who, item[who], now[who] + step * 60, np.full(len(who), kind))
            for step, (who, item, kind) in enumerate(events)
        ]
        now = now + (random.exponential(9 * DAY, USERS) + 3600).astype(int)
    who, item, time, kind = (np.concatenate(one) for one in zip(*rows, strict=True))
    order = np.lexsort((time, who))
    x = Interactions.from_arrays(who, item, time, USERS, n_items)
    kind, meaning = kind[order], EventKinds.of(Preprocess())
    seen = (kind == PURCHASE) | (random.random(len(kind)) < recorded)
    x = replace(
        x,
        events=kind.astype(np.int8),
        strengths=meaning.strengths(kind, x.ratings),
        targets=meaning.are_targets(kind, x.ratings),
        excluding=meaning.are_excluding(kind, x.ratings),
    )
    text = np.hstack([np.eye(GROUPS)[group], style / 2])
    text += 0.3 * random.standard_normal(text.shape)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    table = pd.DataFrame({"item_id": [f"item {code}" for code in range(n_items)]})
    end = int(np.quantile(x.times, 0.9))  # most shoppers still come
    x = x.where(seen & (x.times < end))
    catalogue = Catalogue(table, text.astype(np.float32))
    return Prepared(x, catalogue, pd.DataFrame(), end - WINDOW, end, end)


def without_kinds(x: Interactions) -> Interactions:
    """Return the events as if of one kind, with their weights."""
    return replace(x, weights=x.strengths, strengths=None)


def successes_alone(x: Interactions) -> Interactions:
    """Return the events with next to no weight of what is no success."""
    assert x.strengths is not None
    assert x.targets is not None
    # Not 0: events of weight 0 are not in the histories that are learned from.
    return replace(x, weights=np.where(x.targets, 1.0, 1e-6).astype(np.float32) / x.strengths)


BEFORE, PURCHASES, WEIGHTS = "neither", "purchases alone, no views", "weights of targets"
KINDS, BOTH = "kinds", "kinds and weights"
VARIANTS: dict[str, tuple[Variant, bool]] = {
    BEFORE: (without_kinds, False),
    PURCHASES: (Interactions.successes, False),
    WEIGHTS: (without_kinds, True),
    KINDS: (lambda x: x, False),
    BOTH: (lambda x: x, True),
    "kinds, purchases the only targets": (successes_alone, True),
}
"""What a model is shown, and whether targets have weights."""
TRAININGS = (
    (1.0, 6, tuple(VARIANTS)),
    (0.5, 6, (BEFORE, WEIGHTS, KINDS, BOTH)),
    (1.0, 16, (BEFORE, KINDS)),
    (0.5, 16, (BEFORE, KINDS)),
)
"""The share of the views that is recorded, the epochs, and what is compared."""
BATCH = 16
"""Histories of a step: 16 epochs are about 1,000 steps."""


def blind(histories: Histories, variant: str) -> Histories:
    """Return the histories as the model of a variant saw those that it learned from. What was
    bought is in all of them: the same products are left out of the lists."""
    if variant == PURCHASES:
        return histories.where(histories.excluded(True))
    return replace(histories, strengths=None) if variant in (BEFORE, WEIGHTS) else histories


def kinds(settings: Settings) -> list[str]:
    """Return the lines of the results of the first part."""
    lines = [
        f"## Kinds of events: {SHOPS} simulated shops",
        "",
        f"{USERS:,} shoppers and {GROUPS * OF_GROUP} products a shop; batches of {BATCH}; weights "
        "of the events as in params.yaml (a view 0.3).",
    ]
    for recorded, epochs, names in TRAININGS:
        found: dict[str, list[DoubleArray]] = {name: [] for name in names}
        for seed, name in product(range(SHOPS), names):
            prepared = shop(seed, recorded)
            x, task = prepared.interactions, window_task(prepared, "validation", True)
            shown, weighted = VARIANTS[name]
            values = {"batch_size": BATCH, "epochs": epochs}
            values |= {"kinds": True, "target_weights": weighted}
            section = settings.train.sequential.model_copy(update=values)
            train = shown(x.where(x.times < prepared.validation_start))
            model = Sequential(section, seed).fit(train, prepared.catalogue)
            ids, _ = model.recommend(blind(task.histories, name), 10)
            found[name].append(ndcg(ids, task.targets))
            print(f"{recorded} {epochs} {seed} {name:<36}{found[name][-1].mean():.4f}", flush=True)
        each = {name: np.concatenate(parts) for name, parts in found.items()}
        title = "all views" if recorded == 1 else f"{recorded:.0%} of the views"
        title += f" and all purchases are recorded; {epochs} epochs, {len(each[BEFORE]):,} users"
        lines += ["", f"### {title}", "", *compared(each)]
    return lines


def compared(each: dict[str, DoubleArray], what: str = "model reads") -> list[str]:
    """Return a table of the means and their differences from the first."""
    base = next(iter(each))
    lines = [f"| {what} | NDCG | difference |", "|---|---|---|"]
    for name, values in each.items():
        (low, high), (first, last) = (
            interval(one, SAMPLES, SEED) for one in (values, values - each[base])
        )
        difference = f"{(values - each[base]).mean():+.4f} ({first:+.4f} to {last:+.4f})"
        own = f"{values.mean():.4f} ({low:.4f} to {high:.4f})"
        lines.append(f"| {name} | {own} | {'' if name == base else difference} |")
    return lines


def attributes(settings: Settings, folder: Path, n: int, epochs: int) -> list[str]:
    """Return the lines of the results of the second part."""
    prepared = load_prepared(folder / "data/prepared", folder / "models/vectors")
    x, catalogue = prepared.interactions, prepared.catalogue
    drawn = np.random.default_rng(SEED).choice(x.n_users, min(n, x.n_users), replace=False)
    x = x.where(np.isin(x.users, drawn))
    prepared = replace(prepared, interactions=x)
    train = x.where(x.times < prepared.validation_start)
    unsold = np.bincount(train.items, minlength=x.n_items) == 0
    bought, new = (window_task(prepared, "validation", seen) for seen in (False, True))
    rows, targets = new.only(unsold)
    each: dict[str, dict[str, DoubleArray]] = {}
    seconds = {}
    for title, on in ATTRIBUTES.items():
        values = {"attributes": on, "epochs": epochs}
        model = Sequential(settings.train.sequential.model_copy(update=values), SEED)
        began = time.process_time()
        model.fit(train, catalogue)
        seconds[title] = time.process_time() - began
        of_new = model.recommend(new.histories.pick(rows), 100, available=unsold)[0]
        found = {
            "all purchases": ndcg(model.recommend(bought.histories, 10, False)[0], bought.targets),
            "not bought before": ndcg(model.recommend(new.histories, 10)[0], new.targets),
            NEVER_SOLD: ndcg(of_new, targets),
        }
        for question, scores in found.items():
            each.setdefault(question, {})[title] = scores
        print(title, {question: scores.mean() for question, scores in found.items()}, flush=True)
    lines = [
        f"## Attributes of products: {folder.name}, {n:,} customers",
        "",
        f"{len(train):,} events, {len(catalogue):,} products of which {unsold.sum():,} were not "
        f"sold to them, {epochs} epochs ("
        + ", ".join(f"{title}: {one:.0f} processor seconds" for title, one in seconds.items())
        + "). Attributes: "
        + ", ".join(map(name_of, attribute_columns(catalogue.table)))
        + ". One training each: two trainings of one model may differ by as much (see "
        "docs/evaluation.md).",
    ]
    for question, of_models in each.items():
        users = len(of_models["texts"])
        lines += ["", f"### {question}, {users:,} users", "", *compared(of_models)]
    return lines


def start(settings: Settings, folder: Path) -> list[str]:
    """Return the lines of the results of the third part."""
    x, catalogue = read(folder)
    ids = without_encoder(catalogue)
    (train, validation), (_, test) = leave_one_out_task(x, 2), leave_one_out_task(x, 1)
    tasks = {"validation": validation, "test": test}
    each: dict[str, dict[str, DoubleArray]] = {of: {} for of in tasks}
    seconds = {}
    for title, on in {"at random": False, "from co-occurrences": True}.items():
        section = chosen_settings(settings).train.sequential
        model = Sequential(section.model_copy(update={**START, "cooccurrence": on}), SEED)
        began = time.process_time()
        model.fit(train, ids)
        seconds[title] = time.process_time() - began
        for of, task in tasks.items():
            each[of][title] = ndcg(model.recommend(task.histories, 10)[0], task.targets)
            print(of, title, each[of][title].mean(), flush=True)
    lines = [
        f"## Start of the id vectors: {folder.name}, ids alone",
        "",
        f"{START['dimensions']} dimensions, {START['epochs']} epochs ("
        + ", ".join(f"{title}: {one:.0f} processor seconds" for title, one in seconds.items())
        + "); one training each.",
    ]
    for of, found in each.items():
        lines += ["", f"### {of}, {len(found['at random']):,} users", ""]
        lines += compared(found, "id vectors start")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--shop", type=Path, help="folder of the second and third part")
    parser.add_argument("--users", type=int, default=600, help="of the second part")
    parser.add_argument("--epochs", type=int, default=2, help="of the second part")
    arguments = parser.parse_args()
    if arguments.part != "kinds" and arguments.shop is None:
        parser.error(f"{arguments.part} needs --shop")
    settings, kept = load_settings(), Path("var/benchmarks/sequential")
    if arguments.part == "kinds":
        found = kinds(settings)
    elif arguments.part == "start":
        found = start(settings, arguments.shop)
    else:
        found = attributes(settings, arguments.shop, arguments.users, arguments.epochs)
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{arguments.part}.md").write_text("\n".join(found))
    parts = [file.read_text() for name in PARTS
             if (file := kept / f"{name}.md").exists()]  # fmt: skip
    head = [
        "# What SASRec reads of events and products",
        "",
        "Made by `python -m benchmarks.sequential`, whose docstring gives the protocol.",
    ]
    text = "\n\n".join(["\n".join(head), *parts]) + "\n"
    (RESULTS / "sequential.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
