"""Training of the network: its windows, its checkpoint, no target among the inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.data.attribute_codes import Vocabulary
from components.data.dataset import Interactions
from components.evaluation.protocol import leave_one_out_task
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.models.sasrec.network import (
    Dropout,
    Network,
    Training,
    right_aligned,
    schedule,
    windows,
)
from tests.components.recommenders.models.sasrec.ring import SMALL, in_a_ring


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 9))
def test_windows_make_every_event_but_the_first_a_target_once(counts: list[int], reach: int):
    offsets = np.concatenate([[0], np.cumsum(counts)])
    stops, lengths = windows(offsets, reach)
    block = right_aligned(np.arange(offsets[-1]), stops, lengths).numpy()
    targets = block[:, 1:][block[:, :-1] >= 0]
    first = offsets[:-1][np.array(counts) > 0]
    assert sorted(targets) == sorted(set(range(offsets[-1])) - set(first))
    assert lengths.max(initial=0) <= reach + 1


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [schedule(progress) for progress in np.linspace(0, 1, 21)]
    assert rates[0] == 0
    assert max(rates) == rates[2] == 1
    assert np.all(np.diff(rates[2:]) < 0)
    assert rates[-1] == pytest.approx(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_its_share_and_keeps_the_mean(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(3, 333, 101, dtype=dtype, requires_grad=True)
    dropout = Dropout(0.3)
    found = dropout(x)
    assert found.dtype == dtype
    assert (found == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert found.float().mean().item() == pytest.approx(1, abs=0.02)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert torch.equal(gradient, found)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), found)
    assert not torch.equal(dropout(x), found)
    assert torch.equal(dropout.eval()(x), x)


def continued(file: Path) -> Sequential:
    """Return an unfitted model that keeps a checkpoint in ``file``."""
    model = Sequential(SMALL, 1)
    model.keep_checkpoint(file)
    return model


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_and_gives_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, catalogue = in_a_ring()
    whole = Sequential(SMALL, 1).fit(train, catalogue)
    file = tmp_path / "state.safetensors"
    keep = Training._keep

    def killed_after_two(self: Training, *arguments: object) -> None:
        keep(self, *arguments)  # type: ignore[arg-type]
        if len(self.losses) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_keep", killed_after_two)
        with pytest.raises(Killed):
            continued(file).fit(train, catalogue)
    assert file.exists()
    resumed = continued(file)
    steps = []
    monkeypatch.setattr(
        Training, "_keep", lambda self, *a: (steps.append(len(self.losses)), keep(self, *a))
    )
    resumed.fit(train, catalogue)
    assert steps == [3, 4]
    assert np.array_equal(resumed.vectors, whole.vectors)
    assert resumed.losses == whole.losses
    assert not file.exists()


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_two_trainings_give_the_same_model_bit_for_bit(full_softmax_items: int) -> None:
    """With batches so large that PyTorch uses all threads, and few items that share gradients."""
    random = np.random.default_rng(0)
    users, length, items = 128, 50, 60
    train = Interactions.from_arrays(
        np.repeat(np.arange(users), length),
        random.integers(0, items, users * length),
        np.tile(np.arange(length), users),
        users,
        items,
    )
    text = random.normal(size=(items, 8)).astype(np.float32)
    kinds = random.integers(0, 2, users * length)
    table = pd.DataFrame({"category:maker": random.choice(["a", "b", "c"], items)})
    attributes = Vocabulary.of(table).encode(table)
    settings = SMALL.model_copy(
        update={
            "batch_size": 64,
            "max_length": length,
            "dimensions": 32,
            "epochs": 3,
            "full_softmax_items": full_softmax_items,
            "negatives": 64,
        }
    )
    made = [Training(settings, 1).run(train, text, kinds, attributes) for _ in range(4)]
    first, *others = (vectors for _, vectors in made)
    assert all(np.array_equal(first, other) for other in others)


def test_another_trainings_checkpoint_is_not_taken_up(tmp_path: Path) -> None:
    train, catalogue = in_a_ring()
    file = tmp_path / "state.safetensors"
    model = Sequential(SMALL, 1).fit(train, catalogue)
    other = Training(SMALL, 1, file)
    network, _ = other.run(train, model._text(train, catalogue))
    other._keep(torch.optim.AdamW(network.parameters()), "another")
    again = continued(file).fit(train, catalogue)
    assert len(again.losses) == SMALL.epochs
    assert np.array_equal(again.vectors, model.vectors)


def test_leave_one_out_task_fits_its_windows() -> None:
    """What is learned from holds no target of validation or test."""
    train, _ = in_a_ring()
    before, task = leave_one_out_task(train, 2)
    stops, lengths = windows(before.offsets, 50)
    learned = right_aligned(before.items, stops, lengths).numpy()[:, -1]
    assert (learned == task.histories.items[task.histories.offsets[1:] - 1]).all()


def test_vectors_of_some_items_are_those_of_all() -> None:
    """With attributes of which items have several values, one or none."""
    table = pd.DataFrame({"set:use": [["a", "b"], None, ["b"], [], ["a", "b", "c"], ["c"]]})
    values = Vocabulary.of(table, min_rows=1).encode(table)
    network = Network(SMALL, torch.randn(6, 5), values).eval()
    sold = torch.tensor([True, True, False, False, True, False])
    with torch.no_grad():
        assert network.attributes is not None
        network.attributes.normal_()
        every = network.item_vectors(sold)
        codes = torch.tensor([4, 1, 3, 0, 5])
        assert torch.allclose(network.item_vectors(sold, codes), every[codes], atol=1e-6)
        described = network.text @ network.project.weight.T
        described += torch.from_numpy(values.toarray()) @ network.attributes
        expected = torch.nn.functional.normalize(described, dim=1)
        assert torch.allclose(every[~sold], expected[~sold], atol=1e-6)


def test_a_shop_without_a_second_event_gets_vectors_of_the_texts() -> None:
    """There is no target, and so no loss."""
    once = np.arange(5)
    train = Interactions.from_arrays(once, once, once, 5, 6)
    training = Training(SMALL, 1)
    _, vectors = training.run(train, np.eye(6, 8, dtype=np.float32))
    assert np.isfinite(vectors).all()
    assert training.losses == [0.0] * SMALL.epochs
