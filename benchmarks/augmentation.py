"""Effect of data augmentation on validation: benchmarks/results/augmentation.md.

    make run && python -m benchmarks.augmentation

On the embedded shop (``data/prepared``, ``models/vectors``; ``--root`` names another folder). Each
model is fitted on data from before the validation window, with and without the synthetic purchases
of ``augment`` at several minimum confidences, and evaluated on the real purchases of that window:
NDCG@10 of all users and of those who bought a rare product, with the interval of the gain.
Zero-shot categories: half of the known ones are hidden, and coverage and accuracy of the filled
ones are reported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.leave_one_out import RESULTS
from components.data.dataset import Catalogue, load_prepared
from components.evaluation.text import CONFIDENCES, ablation
from components.language.augmentation import categories
from components.language.encoder import TextEncoder
from components.settings import load_settings

MODELS = ("item_neighbours", "ease", "matrix_factorisation")


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
    table = []
    for one in ablation(prepared, settings, MODELS, CONFIDENCES):
        table.append(
            f"| {one['model']} | {one['confidence'] or 'none'} | {one['made']:,} "
            f"| {one['ndcg']:.4f} | {one['low']:+.4f} – {one['high']:+.4f} "
            f"| {one['rare_ndcg']:.4f} | {one['rare_low']:+.4f} – {one['rare_high']:+.4f} |"
        )
        print(table[-1], flush=True)
    lines = [
        "# Made-up data",
        "",
        "Made by `python -m benchmarks.augmentation`, whose docstring gives the protocol: the",
        f"embedded shop, validation window, {one['users']:,} users, {one['rare_users']:,} of them "
        f"with a product that had fewer than {settings.augment.rare} purchases.",
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
        filled, right = zero_shot_accuracy(prepared.catalogue, encoder, least, settings.seed)
        lines.append(f"| {least} | {filled:.3f} | {right:.3f} |")
        print(lines[-1], flush=True)
    (RESULTS / "augmentation.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
