"""The sequence model's own parts: its losses, its batches, its checkpoint, its unseen items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from components.data.dataset import Catalogue, Histories, Interactions
from components.evaluation.protocol import leave_one_out_task
from components.recommenders.kernels.losses import sampled_softmax_loss, softmax_loss
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.models.sasrec.network import Training, right_aligned, windows
from components.settings import Sequential as SequentialSettings

SMALL = SequentialSettings(
    dimensions=16, layers=1, heads=2, dropout=0.1, epochs=4, batch_size=16, learning_rate=5e-3,
    max_length=8, words=0,
)  # fmt: skip
N_ITEMS = 40


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_chunked_loss_is_cross_entropy_with_its_gradients(chunk: int) -> None:
    random = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 8, generator=random, requires_grad=True)
    vectors = torch.randn(50, 8, generator=random, requires_grad=True)
    targets = torch.randint(50, (23,), generator=random)
    exact = F.cross_entropy(hidden @ vectors.T, targets)
    wanted = torch.autograd.grad(3 * exact, (hidden, vectors))
    loss = softmax_loss(hidden, vectors, targets, chunk=chunk)
    found = torch.autograd.grad(3 * loss, (hidden, vectors))
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_chunked_loss_in_bf16_is_near_and_keeps_the_types() -> None:
    random = torch.Generator().manual_seed(1)
    hidden = torch.randn(64, 16, generator=random, requires_grad=True)
    vectors = torch.randn(90, 16, generator=random, requires_grad=True)
    targets = torch.randint(90, (64,), generator=random)
    exact = torch.autograd.grad(F.cross_entropy(hidden @ vectors.T, targets), (hidden, vectors))
    loss = softmax_loss(hidden, vectors, targets, torch.bfloat16)
    found = torch.autograd.grad(loss, (hidden, vectors))
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.999


def test_sampled_softmax_of_every_other_item_is_the_full_one() -> None:
    random = torch.Generator().manual_seed(2)
    hidden = torch.randn(9, 8, generator=random)
    vectors = torch.randn(30, 8, generator=random)
    targets = torch.randint(30, (9,), generator=random)
    everything = torch.arange(30)  # each once: expected once, nothing to correct
    found = sampled_softmax_loss(
        hidden, vectors[targets], vectors, targets, everything, torch.zeros(30)
    )
    assert found.item() == pytest.approx(F.cross_entropy(hidden @ vectors.T, targets).item())


def test_sampled_softmax_comes_to_the_full_one_whatever_the_draws_prefer() -> None:
    random = torch.Generator().manual_seed(3)
    hidden = torch.randn(200, 8, generator=random)
    vectors = torch.randn(50, 8, generator=random)
    targets = torch.randint(50, (200,), generator=random)
    full = F.cross_entropy(hidden @ vectors.T, targets).item()
    share = torch.arange(1.0, 51.0) / torch.arange(1.0, 51.0).sum()
    gaps = {}
    for m in (20, 20_000):
        drawn = torch.multinomial(share, m, replacement=True, generator=random)
        loss = sampled_softmax_loss(
            hidden, vectors[targets], vectors[drawn], targets, drawn, torch.log(share[drawn] * m)
        )
        gaps[m] = abs(loss.item() - full)
    assert gaps[20_000] < 0.02 < gaps[20]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 9))
def test_windows_make_every_event_but_the_first_a_target_once(counts: list[int], reach: int):
    offsets = np.concatenate([[0], np.cumsum(counts)])
    stops, lengths = windows(offsets, reach)
    block = right_aligned(np.arange(offsets[-1]), stops, lengths).numpy()
    targets = block[:, 1:][block[:, :-1] >= 0]
    first = offsets[:-1][np.array(counts) > 0]
    assert sorted(targets) == sorted(set(range(offsets[-1])) - set(first))
    assert lengths.max(initial=0) <= reach + 1


def in_a_ring(n_users: int = 120, length: int = 8) -> tuple[Interactions, Catalogue]:
    """Users who walk round a ring of items, and text that tells the place in it."""
    random = np.random.default_rng(5)
    users = np.repeat(np.arange(n_users), length)
    steps = np.tile(np.arange(length), n_users)
    items = (np.repeat(random.integers(N_ITEMS, size=n_users), length) + steps) % N_ITEMS
    angle = 2 * np.pi * np.arange(N_ITEMS) / N_ITEMS
    waves = np.concatenate([[np.cos(k * angle), np.sin(k * angle)] for k in (1, 2, 3, 5)])
    table = pd.DataFrame({"item_id": np.arange(N_ITEMS)})
    vectors = (waves.T / 2).astype(np.float32)
    return Interactions.from_arrays(users, items, steps, n_items=N_ITEMS), Catalogue(table, vectors)


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
            Sequential(SMALL, 1, file).fit(train, catalogue)
    assert file.exists()
    resumed = Sequential(SMALL, 1, file)
    steps = []
    monkeypatch.setattr(
        Training, "_keep", lambda self, *a: (steps.append(len(self.losses)), keep(self, *a))
    )
    resumed.fit(train, catalogue)
    assert steps == [3, 4]
    assert np.array_equal(resumed.vectors, whole.vectors)
    assert resumed.losses == whole.losses
    assert not file.exists()


def test_another_trainings_checkpoint_is_not_taken_up(tmp_path: Path) -> None:
    train, catalogue = in_a_ring()
    file = tmp_path / "state.safetensors"
    model = Sequential(SMALL, 1).fit(train, catalogue)
    other = Training(SMALL, 1, file)
    network, _ = other.run(train, model._text(train, catalogue))
    other._keep(torch.optim.AdamW(network.parameters()), "another")
    again = Sequential(SMALL, 1, file).fit(train, catalogue)
    assert len(again.losses) == SMALL.epochs
    assert np.array_equal(again.vectors, model.vectors)


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_learns_the_order_and_places_an_unseen_item_by_its_text(full_softmax_items: int) -> None:
    """The next item of the ring comes first; one that nobody bought comes where it belongs."""
    train, catalogue = in_a_ring()
    unseen = 17
    settings = SMALL.model_copy(
        update={
            "epochs": 25,
            "full_softmax_items": full_softmax_items,
            "negatives": 64,
            "id_dropout": 0.3,
        }
    )
    model = Sequential(settings).fit(train.where(train.items != unseen), catalogue)
    starts = (np.arange(N_ITEMS)[:, None] + np.arange(3)) % N_ITEMS
    asked = [row.tolist() for row in starts if unseen not in row]
    ids, _ = model.recommend(Histories.from_lists(asked), k=3)
    following = np.array([(row[-1] + 1) % N_ITEMS for row in asked])
    warm = following != unseen
    assert (ids[warm, 0] == following[warm]).mean() > 0.8
    assert unseen in ids[~warm][0]


def test_an_item_that_came_after_the_training_is_placed_by_its_text(tmp_path: Path) -> None:
    train, catalogue = in_a_ring()
    newest = N_ITEMS - 1
    known = Catalogue(catalogue.table[:newest], catalogue.vectors[:newest])
    settings = SMALL.model_copy(update={"epochs": 25, "id_dropout": 0.3})
    earlier = train.where(train.items != newest)
    Sequential(settings).fit(replace(earlier, n_items=newest), known).save(tmp_path)
    model = Sequential.load(tmp_path).extended(catalogue)
    asked = [[newest - 3, newest - 2, newest - 1], [10, 11, 12]]
    ids, _ = model.recommend(Histories.from_lists(asked), k=5)
    assert newest in ids[0]
    assert newest not in ids[1]


def test_leave_one_out_task_fits_its_windows() -> None:
    """What is learned from holds no target of validation or test."""
    train, _ = in_a_ring()
    before, task = leave_one_out_task(train, 2)
    stops, lengths = windows(before.offsets, 50)
    learned = right_aligned(before.items, stops, lengths).numpy()[:, -1]
    assert (learned == task.histories.items[task.histories.offsets[1:] - 1]).all()
