"""What made-up data gives on validation: benchmarks/results/augmentation.md.

    make run && python -m benchmarks.augmentation

On the embedded shop (``data/prepared``, ``models/vectors``; ``--root`` names another folder). Each
model is fitted on what lies before the validation window, with and without ``augment``'s made-up
purchases at several least confidences, and judged on the real purchases of that window alone:
NDCG@10 of all users and of those who bought a rare product, with the interval of the gain. And
zero-shot categories: half of the known ones are hidden; how many are filled, and rightly?
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.leave_one_out import RESULTS
from components.data.dataset import Catalogue, load_prepared
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, lists, window_task
from components.language.augmentation import categories, purchases
from components.language.encoder import TextEncoder
from components.recommenders.training import build
from components.settings import load_settings

MODELS = ("item_neighbours", "linear", "matrix_factorisation")
CONFIDENCES = (0.5, 0.7, 0.9)


def zero_shot_accuracy(
    catalogue: Catalogue, encoder: TextEncoder, least: float, seed: int
) -> tuple[float, float]:
    """Return the share of hidden main categories that are filled, and of those the right ones."""
    known = catalogue.table["main_category"]
    there = np.flatnonzero(known.notna())
    hidden = np.random.default_rng(seed).permutation(there)[: len(there) // 2]
    table = catalogue.table.assign(main_category=known.where(~known.index.isin(hidden)))
    settings = load_settings().augment.model_copy(update={"min_confidence": least})
    made = categories(Catalogue(table, catalogue.vectors), encoder, settings)
    made = made[made["item"].isin(hidden)]
    right = known.iloc[made["item"]].to_numpy() == made["category"].to_numpy()
    return len(made) / max(len(hidden), 1), float(right.mean()) if len(made) else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    root = parser.parse_args().root
    settings = load_settings()
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    x, catalogue = prepared.interactions, prepared.catalogue
    before = x.where(x.times < prepared.validation_start)
    task = window_task(prepared, "validation", settings.train.exclude_seen)
    rare = np.bincount(before.items, minlength=x.n_items) < settings.augment.rare
    rows, targets = task.only(rare)
    table, plain = [], {}
    for least in (None, *CONFIDENCES):
        train, made = before, []
        if least is not None:
            changed = settings.augment.model_copy(update={"min_confidence": least})
            train, made = purchases(before, catalogue, changed, settings.seed)
        for name in MODELS:
            model = build(name, settings).fit(train, catalogue)
            ids = lists(model, task, 10, settings.train.exclude_seen)
            each = ndcg(ids, task.targets)
            few = ndcg(ids[rows], targets)
            plain.setdefault(name, (each, few))
            low, high = interval(each - plain[name][0], 500, 0)
            low_few, high_few = interval(few - plain[name][1], 500, 0)
            table.append(
                f"| {name} | {'none' if least is None else least} | {len(made):,} "
                f"| {each.mean():.4f} | {low:+.4f} – {high:+.4f} | {few.mean():.4f} "
                f"| {low_few:+.4f} – {high_few:+.4f} |"
            )
            print(table[-1], flush=True)
    lines = [
        "# Made-up data",
        "",
        "Made by `python -m benchmarks.augmentation`, whose docstring tells the protocol: the",
        f"embedded shop, validation window, {len(task.users):,} users, {len(rows):,} of them with "
        f"a product that had fewer than {settings.augment.rare} purchases.",
        "",
        "| model | confidence ≥ | made up | NDCG@10 | gain, 95 % | rare products | gain, 95 % |",
        "|---|---|---|---|---|---|---|",
        *table,
        "",
        "Zero-shot categories, half of the known ones hidden:",
        "",
        "| least confidence | filled | right |",
        "|---|---|---|",
    ]
    encoder = TextEncoder(root / "models/language/finetuned")
    for least in (0.0, *CONFIDENCES):
        filled, right = zero_shot_accuracy(catalogue, encoder, least, settings.seed)
        lines.append(f"| {least} | {filled:.3f} | {right:.3f} |")
        print(lines[-1], flush=True)
    (RESULTS / "augmentation.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
