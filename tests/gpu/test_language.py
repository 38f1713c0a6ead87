"""The language model on a GPU against the same on the CPU, which another process computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer

from components.language import corpus, encoding, families, loop
from components.language.encoder import TextEncoder
from components.language.families import FAMILIES, open_model, save_model
from components.language.ratings import predict
from components.settings import Finetune, Settings, load_settings
from tests.gpu.shop import DATASETS, encode, finetune, place, pretrain

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
BRIEF = {
    "steps": 14,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "precision": "fp32",
    "checkpoint_every": 5,
    "eval_every": 4,
    "log_every": 1,
}
DROPOUTS = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "dropout"),
)
NEAR = 5e-3
"""Relative difference of the losses in fp32: rounding, which each step amplifies."""
TEXTS = ["red mug", "the fabric is soft and the colour is just as in the pictures", "cake stand"]


def changed(settings: Settings, **changes: object) -> Settings:
    section = settings.pretrain.model_copy(update=changes)
    return settings.model_copy(update={"pretrain": section})


@pytest.fixture(scope="module")
def starts(shop, tmp_path_factory):
    """Give root and settings of a family's training without dropout, whose random numbers are
    others on a GPU."""
    made: dict[str, tuple[Path, Settings]] = {}

    def start(family: str) -> tuple[Path, Settings]:
        if family not in made:
            root = tmp_path_factory.mktemp(family) / "root"
            (root / "data").mkdir(parents=True)
            for name in ("prepared", "valid"):
                (root / "data" / name).symlink_to(shop / "data" / name)
            settings = load_settings(DATASETS.parent / "params.yaml")
            settings = changed(settings, encoder=f"scratch:{family}", **BRIEF)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(families, "SCRATCH_VOCABULARY", 1500)
                corpus.run(settings, root)
            tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
            model, _ = open_model(f"scratch:{family}", tokenizer, 1)
            for name in DROPOUTS:
                if hasattr(model.config, name):
                    setattr(model.config, name, 0.0)
            save_model(model, tokenizer, root / "start")
            made[family] = root, changed(settings, encoder=str(root / "start"))
        return made[family]

    return start


@pytest.mark.usefixtures("gpu_used")
@pytest.mark.parametrize("family", list(FAMILIES))
def test_each_family_learns_as_on_the_cpu(family: str, starts, on_cpu) -> None:
    root, settings = starts(family)
    ours, theirs = place(root, "gpu"), place(root, "cpu")
    log, _ = pretrain(settings, ours)
    expected, _ = on_cpu(pretrain, settings, theirs)
    assert log["loss"].iloc[-3:].mean() < log["loss"].iloc[0] - 0.3
    for name in expected.columns:
        assert log[name].to_numpy() == pytest.approx(
            expected[name].to_numpy(), rel=NEAR, nan_ok=True
        )
    # The folder that was written on the GPU, read without one.
    folder = ours / "models/language/pretrained"
    found = on_cpu(encode, folder, TEXTS, "fp32")
    assert found == pytest.approx(encode(folder, TEXTS, "fp32"), abs=1e-4)


@pytest.mark.usefixtures("gpu_used")
def test_low_rank_adapters_and_micro_batches(starts, on_cpu) -> None:
    root, settings = starts("bert")
    light = changed(settings, lora_rank=3, accumulate=2)
    log, _ = pretrain(light, place(root, "lora_gpu"))
    expected, _ = on_cpu(pretrain, light, place(root, "lora_cpu"))
    assert log["held_out"].dropna().iloc[-1] < log["held_out"].dropna().iloc[0]
    assert log["loss"].to_numpy() == pytest.approx(expected["loss"].to_numpy(), rel=NEAR)


@pytest.mark.usefixtures("gpu_used")
@pytest.mark.parametrize("first", ["gpu", "cpu"])
def test_a_checkpoint_of_one_device_is_continued_on_the_other(first, starts, on_cpu) -> None:
    root, settings = starts("bert")
    whole, _ = pretrain(settings, place(root, f"whole_{first}"))
    cut = place(root, f"cut_{first}")

    def run_on(device: str, *arguments: object) -> tuple[pd.DataFrame, list[int]]:
        function = pretrain if device == "gpu" else lambda *given: on_cpu(pretrain, *given)
        return function(*arguments)

    kept, _ = run_on(first, settings, cut, 8)
    assert kept["step"].tolist() == list(range(5))
    log, computed = run_on({"gpu": "cpu", "cpu": "gpu"}[first], settings, cut)
    assert computed == list(range(5, settings.pretrain.steps))
    assert log["loss"][:5].to_numpy() == pytest.approx(kept["loss"].to_numpy(), rel=1e-9)
    for name in ("loss", "held_out"):
        assert log[name].to_numpy() == pytest.approx(whole[name].to_numpy(), rel=NEAR, nan_ok=True)


def test_auto_is_bf16_on_a_gpu_that_has_it(starts, tmp_path) -> None:
    layer = torch.nn.Linear(8, 8).to("cuda")
    kinds = set()

    def losses(step: int) -> dict[str, torch.Tensor]:
        out = layer(torch.ones(4, 8, device="cuda"))
        kinds.add(out.dtype)
        return {"part": (out.float() ** 2).sum()}

    log = loop.train(layer, losses, 6, 0.05, tmp_path / "kept", "m", 5, "layer")
    native = torch.cuda.get_device_capability() >= (8, 0)
    assert kinds == {torch.bfloat16 if native else torch.float32}
    assert log[-1]["loss"] < log[0]["loss"]
    assert all(weight.dtype == torch.float32 for weight in layer.parameters())

    root, settings = starts("bert")
    exact, _ = pretrain(settings, place(root, "fp32"))
    quick, _ = pretrain(changed(settings, precision="auto"), place(root, "auto"))
    assert quick["loss"].to_numpy() == pytest.approx(exact["loss"].to_numpy(), rel=0.03)
    folder = root.with_name("auto") / "models/language/pretrained"
    assert TextEncoder(folder).precision == ("bf16" if native else "fp32")
    cosines = (encode(folder, TEXTS, "auto") * encode(folder, TEXTS, "fp32")).sum(axis=1)
    assert cosines.min() > 0.99


@pytest.mark.usefixtures("gpu_used")
def test_fine_tuning_and_encoding_are_those_of_the_cpu(starts, on_cpu) -> None:
    root, settings = starts("bert")
    section = Finetune(
        tasks=["next_product", "retrieval", "rating"], head_steps=15, steps=4, batch_size=64,
        products=16, queries=8, reviews=8, learning_rate=1e-4, head_learning_rate=1e-3,
        negatives=300, log_every=1,
    )  # fmt: skip
    exact = settings.encode.model_copy(update={"precision": "fp32"})
    settings = settings.model_copy(update={"finetune": section, "encode": exact})
    ours, theirs = place(root, "tuned_gpu"), place(root, "tuned_cpu")
    for one in (ours, theirs):
        (one / "models/language").mkdir(parents=True)
        (one / "models/language/pretrained").symlink_to(root / "start")
    log = finetune(settings, ours, True)
    expected = on_cpu(finetune, settings, theirs, True)
    assert log["next_product"].iloc[-3:].mean() < log["next_product"].iloc[:3].mean()
    for name in ("loss", "next_product", "retrieval", "rating"):
        assert log[name].to_numpy() == pytest.approx(
            expected[name].to_numpy(), rel=NEAR, nan_ok=True
        )
    encoding.run(settings, ours)
    vectors = np.load(ours / "models/vectors/items.npy")
    # The same folder on the CPU; the head's whitening amplifies rounding.
    on_cpu(encoding.run, settings, place_with(ours, "encoded_cpu"))
    encoded = np.load(ours.with_name("encoded_cpu") / "models/vectors/items.npy")
    assert (vectors * encoded).sum(axis=1).min() > 1 - 1e-4
    facts = json.loads((ours / "models/vectors/encoder.json").read_text())
    assert facts["width"] == vectors.shape[1]
    # The heads of the ratings, saved on the GPU.
    folder = ours / "models/language/finetuned"
    near = on_cpu(rated, folder)
    assert near == pytest.approx(rated(folder), abs=1e-3)


def rated(folder: Path) -> np.ndarray:
    """Return the predicted shares of the ratings of TEXTS."""
    return predict(folder, TextEncoder(folder, precision="fp32"), TEXTS)[0]


def place_with(root: Path, name: str) -> Path:
    """Return a new folder with the data and the fine-tuned model of ``root``."""
    made = place(root, name)
    (made / "models/language").mkdir(parents=True)
    (made / "models/language/finetuned").symlink_to(root / "models/language/finetuned")
    return made


def test_mixed_fine_tuning_learns(starts) -> None:
    """In bf16, with the weights in fp32, as ``auto`` has it."""
    root, settings = starts("roberta")
    section = Finetune(
        head_steps=15, steps=4, batch_size=64, products=16, head_learning_rate=1e-3, log_every=1
    )
    ours = place(root, "mixed")
    (ours / "models/language").mkdir(parents=True)
    (ours / "models/language/pretrained").symlink_to(root / "start")
    log = finetune(settings.model_copy(update={"finetune": section}), ours, False)
    assert log["next_product"].iloc[-3:].mean() < log["next_product"].iloc[:3].mean()
