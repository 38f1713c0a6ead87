"""A small shop of real lines and reviews, and what is trained on it: on a GPU or on the CPU.

The functions take and return what can be pickled: the fixture ``on_cpu`` calls them in another
process.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from components.data.dataset import Prepared, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.language import finetuning, loop, pretraining
from components.language.encoder import TextEncoder
from components.recommenders.models.sasrec import network
from components.recommenders.models.sasrec.model import Sequential
from components.settings import Sequential as SequentialSettings
from components.settings import Settings

DATASETS = Path(__file__).resolve().parents[2] / "datasets"
DAY = 86_400


def write_shop(root: Path, users_in: int, items: int) -> None:
    """Write data/prepared, data/valid/reviews.parquet and models/vectors of a part of the datasets.

    users_in: every how manieth customer is in it. items: the products sold most often. The tables
    are made without the stages before, which need packages that a machine for training can lack.
    """
    lines = pd.read_parquet(DATASETS / "online-retail/2009-2010.parquet")
    lines = lines[(lines["Customer ID"] % users_in == 0) & lines["Description"].notna()]
    common = lines["StockCode"].value_counts().index[:items]
    lines = lines[lines["StockCode"].isin(common)]
    item, codes = pd.factorize(lines["StockCode"], sort=True)
    user, customers = pd.factorize(lines["Customer ID"], sort=True)
    seconds = lines["InvoiceDate"].astype("datetime64[s]").astype(np.int64).to_numpy()
    end = int(seconds.max()) + 1
    starts = {"validation_start": end - 56 * DAY, "test_start": end - 28 * DAY, "end": end}
    interactions = pd.DataFrame(
        {
            "user": user.astype(np.int32),
            "item": item.astype(np.int32),
            "event": np.int8(3),
            "timestamp": seconds,
            "quantity": np.float32(1),
            "price": lines["Price"].to_numpy(np.float32),
            "rating": np.float32(np.nan),
            "split": (seconds >= starts["validation_start"]).astype(np.int8)
            + (seconds >= starts["test_start"]),
            "authenticated": True,
        }
    ).sort_values(["user", "timestamp"], kind="stable")
    titles = lines.groupby("StockCode")["Description"].first().loc[codes].str.strip()
    table = pd.DataFrame({"item_id": codes, "title": titles.to_numpy(), "description": ""})
    table = table.assign(brand="", categories=[[]] * len(table), categories_inferred=False)
    reviews = pd.read_csv(DATASETS / "clothing-reviews/reviews.csv.gz", nrows=600)
    reviews = pd.DataFrame(
        {
            "item_id": "clothing:" + reviews["Clothing ID"].astype(str),
            "title": reviews["Title"],
            "text": reviews["Review Text"],
            "rating": reviews["Rating"].astype(np.float32),
            "timestamp": pd.Series(pd.NaT, index=reviews.index, dtype="datetime64[us, UTC]"),
        }
    )
    words = TfidfVectorizer().fit_transform(table["title"])
    vectors = TruncatedSVD(32, random_state=0).fit_transform(words).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    for folder in ("data/prepared", "data/valid", "models/vectors"):
        (root / folder).mkdir(parents=True)
    interactions.to_parquet(root / "data/prepared/interactions.parquet", index=False)
    table.to_parquet(root / "data/prepared/items.parquet")
    pd.DataFrame({"user_id": customers}).to_parquet(root / "data/prepared/users.parquet")
    (root / "data/prepared/split.json").write_text(json.dumps(starts))
    reviews.to_parquet(root / "data/valid/reviews.parquet")
    np.save(root / "models/vectors/items.npy", vectors)


def place(root: Path, name: str) -> Path:
    """Return a new folder ``name`` next to ``root`` that has its data."""
    made = root.with_name(name)
    (made / "reports").mkdir(parents=True)
    (made / "data").symlink_to(root / "data")
    return made


class Killed(Exception):
    pass


def pretrain(
    settings: Settings, root: Path, stop_at: int | None = None
) -> tuple[pd.DataFrame, list[int]]:
    """Run the stage, killed at the step ``stop_at`` if given; return the log and the steps that
    were computed."""
    computed, step_losses = [], pretraining.step_losses

    def watched(*arguments):
        if arguments[2] == stop_at:
            raise Killed
        computed.append(arguments[2])
        return step_losses(*arguments)

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(pretraining, "step_losses", watched)
        pretraining.run(settings, root)
        return pd.read_csv(root / "reports/pretrain.csv"), computed
    saved = json.loads((root / "models/language/checkpoints/pretrain/log.json").read_text())
    return pd.DataFrame(saved["log"]), computed


def finetune(settings: Settings, root: Path, precise: bool) -> pd.DataFrame:
    """Run the stage and return its log. precise: compute in fp32."""
    with pytest.MonkeyPatch.context() as patch:
        if precise:
            patch.setattr(loop, "fast_at_bf16", lambda device: False)
            patch.setattr("components.language.encoder.fast_at_bf16", lambda device: False)
        finetuning.run(settings, root)
    return pd.read_csv(root / "reports/finetune.csv")


def encode(folder: Path, texts: list[str], precision: str) -> np.ndarray:
    """Return the vectors of ``texts`` by the encoder of ``folder``."""
    return TextEncoder(folder, precision=precision).encode(texts)


def prepared(root: Path) -> Prepared:
    return load_prepared(root / "data/prepared", root / "models/vectors")


def train_sequential(
    root: Path,
    settings: SequentialSettings,
    folder: Path,
    precise: bool,
    stop_after: int | None = None,
) -> tuple[list[float], list[int]]:
    """Train SASRec and save it in ``folder``; return the losses and the epochs computed.

    precise: in fp32. stop_after: kill it after that many epochs; a second call continues.
    """
    shop, computed, keep = prepared(root), [], network.Training._keep

    def watched(self, *arguments):
        keep(self, *arguments)
        computed.append(len(self.losses))
        if len(self.losses) == stop_after:
            raise Killed

    model = Sequential(settings, 1)
    model.keep_checkpoint(folder.with_suffix(".safetensors"))
    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        patch.setattr(network.Training, "_keep", watched)
        if precise:
            patch.setattr(network, "fast_at_bf16", lambda device: False)
        model.fit(shop.interactions.split("train"), shop.catalogue)
        model.save(folder)
    return getattr(model, "losses", []), computed


def recommend(root: Path, folder: Path) -> tuple[np.ndarray, float]:
    """Return the lists of ten of a saved model for the validation window, and their NDCG."""
    task = window_task(prepared(root), "validation", exclude_seen=True)
    ids = lists(Sequential.load(folder), task, 10, exclude_seen=True)
    return ids, float(ndcg(ids, task.targets).mean())
