"""Accuracy on products without purchases (cold start): benchmarks/results/cold_start_NAME.md.

    python -m benchmarks.cold_start ../shared/data/amazon-beauty-5core

Folder and protocol are those of ``benchmarks.leave_one_out``, but ``SHARE`` of the items, drawn
with ``SEED``, are removed from all training interactions and all histories. A user is *cold* if
the next item is one of them, else *warm*; for both, all items except those of the history are
ranked. Texts: the full titles, and TF-IDF also over the five
keywords an item of ``items.parquet``.

The packaged encoder is compared without further training, pre-trained on the titles (120 steps of
the stage ``pretrain``) and fine-tuned on next products, only the head or also the encoder
(``FINETUNE``, about ten minutes of one core), which reads neither validation nor test targets.
Encoders and vectors are cached in ``var/benchmarks``. Vectors are whitened, except those of the
head alone, which has done so.

The hybrid must say in one list what of the sold and what of the unsold comes first. Its ranker
learns that on validation with as many other items taken out in the same way, over models that
never saw those; users whose validation target is one of the tested cold items are left out. Users
with such a target count ``UNSOLD_WEIGHT`` times in its training. Chosen on 30 % of the
validation users, held out of that training; NDCG@10 cold / warm there by weight: 1: 0.024 / 0.083,
3: 0.056 / 0.079, 6: 0.079 / 0.072, 12: 0.111 / 0.056.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.leave_one_out import RESULTS, chosen_settings, fitted, read
from components.data.dataset import Catalogue, Interactions, item_text
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, leave_one_out_task
from components.language import corpus, pretraining
from components.language.encoder import TextEncoder, encode_cached, encoder_digest
from components.language.families import weights_digest
from components.language.finetuning import finetune
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.models.content import Content
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings, load_settings

SHARE, SEED = 0.05, 42
FINETUNE = {"steps": 60, "products": 96}
"""Set by hand, not searched; the rest is as in params.yaml."""
HEAD_ALONE = "encoder fine-tuned, head alone"
UNSOLD_WEIGHT = 3.0
HYBRID = ["cease", "sequential", "content", "tfidf", "item_neighbours"]


@dataclass(frozen=True)
class Part:
    """What is learned from and what is asked, without the cold items in either's past."""

    train: Interactions
    task: Task

    def rows(self, cold: np.ndarray, wanted: bool) -> np.ndarray:
        """Return the rows of the task whose target is cold (or not)."""
        return np.flatnonzero(cold[self.task.targets.indices] == wanted)


def cold_items(n_items: int) -> np.ndarray:
    """Return bool (n_items,): the items that are taken out."""
    chosen = np.random.default_rng(SEED).choice(n_items, round(SHARE * n_items), replace=False)
    return np.isin(np.arange(n_items), chosen)


def parts(x: Interactions, cold: np.ndarray) -> dict[str, Part]:
    """Return validation and test, as ``leave_one_out`` has them, without the cold items."""
    found = {}
    for name, back in (("validation", 2), ("test", 1)):
        train, task = leave_one_out_task(x, back)
        train = train.where(~cold[train.items])
        histories = train.histories(task.users, task.histories.now)
        found[name] = Part(train, replace(task, histories=histories))
    return found


def pretrained(catalogue: Catalogue, settings: Settings, root: Path) -> Path:
    """Return the folder of the encoder pre-trained on the titles by the shop's own stages."""
    place = root / "models/language/pretrained"
    if not place.exists():
        for folder in ("data/prepared", "data/valid", "reports", "models/language"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        catalogue.table.to_parquet(root / "data/prepared/items.parquet")
        # The stages read whole tables; of this shop only the titles say anything.
        columns = {
            "data/valid/reviews": ["user_id", "item_id", "rating", "title", "text", "timestamp"],
            "data/prepared/users": ["user_id"],
            "data/prepared/interactions": [
                *("user", "item", "timestamp", "event", "quantity", "price", "rating", "split"),
            ],
        }
        for name, names in columns.items():
            kind = int if name.endswith("interactions") else str
            pd.DataFrame(columns=names, dtype=kind).to_parquet(root / f"{name}.parquet")
        split = {"validation_start": 0, "test_start": 0, "end": 0}
        (root / "data/prepared/split.json").write_text(json.dumps(split))
        corpus.run(settings, root)
        pretraining.run(settings, root)
    return place


def finetuned(
    start: str, steps: int, texts: list[str], train: Interactions, settings: Settings, root: Path
) -> str:
    """Return the folder of ``start`` fine-tuned on next products: the head, then ``steps``."""
    name = f"{Path(start).name}-finetuned-{steps}"
    place = root / "models/language" / name
    if not place.exists():
        encoder = TextEncoder(start, settings.encode.max_length, training=True)
        tuned = settings.finetune.model_copy(update={"steps": steps})
        kept = root / "models/language/checkpoints" / name
        finetune(encoder, texts, train, tuned, settings.seed, kept, weights_digest(start))
        encoder.save(place)
    return str(place)


def text_models(
    folder: Path,
    catalogue: Catalogue,
    train: Interactions,
    settings: Settings,
    root: Path,
    as_it_is: bool,
    only: list[str],
) -> Iterator[tuple[str, Recommender, Catalogue]]:
    """Yield title, candidate model and the catalogue with the texts and vectors it is to read."""
    words, content = build("tfidf", settings), build("content", settings)
    yield "TF-IDF of titles", words, catalogue
    items = pd.read_parquet(folder / "items.parquet")
    if "keywords" in items:
        table = catalogue.table.assign(title=items["keywords"].fillna(""))
        yield "TF-IDF of five keywords", words, Catalogue(table)
    yield "encoder as it is", content, catalogue
    if as_it_is:
        return
    texts, packaged = item_text(catalogue.table), settings.pretrain.encoder
    steps = settings.finetune.steps
    for title, open_encoder in {
        HEAD_ALONE: lambda: finetuned(packaged, 0, texts, train, settings, root),
        "encoder pre-trained": lambda: str(pretrained(catalogue, settings, root)),
        "encoder fine-tuned": lambda: finetuned(packaged, steps, texts, train, settings, root),
    }.items():
        if only and title not in only:
            continue
        name = open_encoder()
        encoder = TextEncoder(name, settings.encode.max_length)
        vectors = encode_cached(encoder, encoder_digest(name), texts, root / "vectors" / title)
        spread = settings.train.content.model_copy(update={"whiten": title != HEAD_ALONE})
        yield title, Content(spread), Catalogue(catalogue.table, vectors)


def hybrid_models(
    x: Interactions, catalogue: Catalogue, cold: np.ndarray, settings: Settings, root: Path
) -> dict[str, Recommender]:
    """Return the hybrid and the models it is made of, for the test part."""
    n_out = int(cold.sum())
    others = np.random.default_rng(SEED + 1).choice(np.flatnonzero(~cold), n_out, replace=False)
    out = cold.copy()
    out[others] = True
    before = parts(x, out)["validation"]
    asked = before.rows(cold, False)
    histories = before.train.histories(before.task.users[asked], before.task.histories.now[asked])
    earlier = fitted(HYBRID, settings, before.train, catalogue, root / "earlier")
    rank = settings.rank.model_copy(update={"unsold_weight": UNSOLD_WEIGHT})
    learner = Hybrid(rank, earlier, seed=settings.seed).fit(before.train, catalogue)
    learner.fit_ranker(histories, before.task.targets[asked], True)
    train = parts(x, cold)["test"].train
    later = fitted(HYBRID, settings, train, catalogue, root / "later")
    final = Hybrid(settings.rank, later, learner.ranker, settings.seed).fit(train, catalogue)
    return {**later, "hybrid": final}


def figures(model: Recommender, part: Part, cold: np.ndarray) -> dict[str, float]:
    """Return NDCG@10 of the cold and of the warm users with their 95 % intervals."""
    each = ndcg(model.recommend(part.task.histories, 10)[0], part.task.targets)
    found = {}
    for name, wanted in (("cold", True), ("warm", False)):
        values = each[part.rows(cold, wanted)]
        low, high = interval(values, 500, 0)
        found |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--as-it-is", action="store_true", help="no other encoders, which take half an hour"
    )
    parser.add_argument(
        "--text", nargs="*", metavar="TITLE", help="no hybrid; of the other encoders only these"
    )
    arguments = parser.parse_args()
    settings = chosen_settings(load_settings())
    tuned = settings.finetune.model_copy(update=FINETUNE)
    settings = settings.model_copy(update={"finetune": tuned})
    x, catalogue = read(arguments.folder)
    cold = cold_items(x.n_items)
    split = parts(x, cold)
    root = Path("var/benchmarks") / arguments.folder.name / "cold_start"
    rows = []
    for title, model, over in text_models(
        *(arguments.folder, catalogue, split["validation"].train, settings, root),
        as_it_is=arguments.as_it_is,
        only=arguments.text or [],
    ):
        for name, part in split.items():
            fitted_model = model.fit(part.train, over)
            rows.append({"model": title, "part": name, **figures(fitted_model, part, cold)})
            print(rows[-1], flush=True)
    blends = {}
    if arguments.text is None:
        blends = hybrid_models(x, catalogue, cold, settings, root / "hybrid")
    for title, model in blends.items():
        rows.append({"model": title, "part": "test", **figures(model, split["test"], cold)})
        print(rows[-1], flush=True)
    users = {name: len(split["test"].rows(cold, name == "cold")) for name in ("cold", "warm")}
    table, kept = pd.DataFrame(rows), RESULTS / f"cold_start_{arguments.folder.name}.csv"
    if kept.exists():  # what was not measured now stays
        old = pd.read_csv(kept)
        table = pd.concat([table, old[~old["model"].isin(table["model"])]], ignore_index=True)
    write(table, arguments.folder.name, users)


def write(table: pd.DataFrame, name: str, users: dict[str, int]) -> None:
    """Write the results as CSV and as a page."""
    RESULTS.mkdir(exist_ok=True)
    table.round(5).to_csv(RESULTS / f"cold_start_{name}.csv", index=False)
    lines = [
        f"# Cold start: {name}",
        "",
        "Made by `python -m benchmarks.cold_start`, whose docstring gives the protocol. NDCG@10",
        f"over all items, 95 % interval in brackets; {users['cold']:,} cold and "
        f"{users['warm']:,} warm test users.",
    ]
    for part in ("test", "validation"):
        lines += ["", f"## {part}", "", "| model | cold users | warm users |", "|---|---|---|"]
        lines += [
            f"| {row['model']} | {row['cold']:.4f} ({row['cold_low']:.4f} – {row['cold_high']:.4f})"
            f" | {row['warm']:.4f} ({row['warm_low']:.4f} – {row['warm_high']:.4f}) |"
            for row in table[table["part"] == part].to_dict("records")
        ]
    (RESULTS / f"cold_start_{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
