"""SASRec trained on a GPU against the same trained on the CPU, which another process computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.recommenders.models.sasrec.model import Sequential
from components.settings import Sequential as SequentialSettings
from tests.gpu.shop import recommend, train_sequential

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
    pytest.mark.usefixtures("gpu_used"),
]
SMALL = SequentialSettings(
    dimensions=32, layers=2, heads=2, epochs=6, batch_size=32, learning_rate=5e-3, max_length=30
)
WITHOUT_CHANCE = SMALL.model_copy(update={"dropout": 0.0, "id_dropout": 0.0, "epochs": 4})
"""Without dropout, whose random numbers are others on a GPU."""


def test_without_chance_the_losses_and_vectors_are_those_of_the_cpu(shop, on_cpu, tmp_path) -> None:
    losses, _ = train_sequential(shop, WITHOUT_CHANCE, tmp_path / "gpu", True)
    expected, _ = on_cpu(train_sequential, shop, WITHOUT_CHANCE, tmp_path / "cpu", True)
    assert losses[-1] < losses[0]
    assert losses == pytest.approx(expected, rel=5e-3)
    ours, theirs = (Sequential.load(tmp_path / name).vectors for name in ("gpu", "cpu"))
    assert (ours * theirs).sum(axis=1).min() > 0.98


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_the_validation_metric_is_that_of_the_cpu(
    full_softmax_items: int, shop, on_cpu, tmp_path: Path
) -> None:
    """With dropout, sampled negatives and bf16: other random numbers, an equally good model.

    Three seeds on one CPU differ by 0.011.
    """
    settings = SMALL.model_copy(update={"full_softmax_items": full_softmax_items, "negatives": 256})
    train_sequential(shop, settings, tmp_path / "gpu", False)
    on_cpu(train_sequential, shop, settings, tmp_path / "cpu", False)
    lists, ours = recommend(shop, tmp_path / "gpu")
    served, again = on_cpu(recommend, shop, tmp_path / "gpu")  # what the GPU wrote, without one
    assert np.array_equal(served, lists)
    assert again == ours
    _, theirs = on_cpu(recommend, shop, tmp_path / "cpu")
    print(f"NDCG@10 of the validation window: GPU {ours:.4f}, CPU {theirs:.4f}")
    assert ours == pytest.approx(theirs, abs=0.015)


@pytest.mark.parametrize("first", ["gpu", "cpu"])
def test_a_checkpoint_of_one_device_is_continued_on_the_other(
    first: str, shop, on_cpu, tmp_path: Path
) -> None:
    whole, _ = train_sequential(shop, WITHOUT_CHANCE, tmp_path / "whole", True)
    cut = shop, WITHOUT_CHANCE, tmp_path / "cut", True
    if first == "gpu":
        train_sequential(*cut, 2)
        losses, computed = on_cpu(train_sequential, *cut)
    else:
        on_cpu(train_sequential, *cut, 2)
        losses, computed = train_sequential(*cut)
    assert computed == [3, 4]
    assert losses == pytest.approx(whole, rel=5e-3)
    assert (tmp_path / "cut").is_dir()
    assert not (tmp_path / "cut.safetensors").exists()
