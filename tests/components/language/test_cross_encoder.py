"""The cross-encoder: it learns what texts decide, continues when killed, and is distilled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.language.cross_encoder import CrossEncoder, Lists, distil
from components.settings import CrossEncoder as Settings
from tests.encoders import write_small_encoder

COLOURS = ("red", "blue", "green", "white", "black", "pink")
THINGS = ("bag", "mug", "candle", "lamp", "plate", "clock", "towel", "basket")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
COLOUR = np.repeat(np.arange(len(COLOURS)), len(THINGS))


def lists_of_opposites(n: int, seed: int) -> Lists:
    """Return lists of a shop whose customers then buy the colour that follows the history's, so
    that texts decide, but not that they are similar."""
    random = np.random.default_rng(seed)
    colour = random.integers(0, len(COLOURS), (n, 1))
    past = colour * len(THINGS) + random.integers(0, len(THINGS), (n, 3))
    past[random.random(n) < 0.3, 2] = -1
    following = (colour + 1) % len(COLOURS) * len(THINGS)
    bought = following + random.integers(0, len(THINGS), (n, 1))
    others = random.integers(0, len(TITLES), (n, 5))
    others[COLOUR[others] == COLOUR[bought]] = -1
    return Lists(past, np.hstack([bought, others]))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    encoder = write_small_encoder(tmp_path_factory.mktemp("encoder"), positions=0.01)
    return Settings(
        encoder=str(encoder), layers=2, max_length=32, past=3, batch_size=8, learning_rate=2e-3,
        dimensions=16, steps=300, checkpoint_every=20,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> CrossEncoder:
    reader = CrossEncoder(settings, TITLES, TITLES)
    reader.fit(lists_of_opposites(1600, 0), settings, 0, tmp_path_factory.mktemp("checkpoint"))
    return reader


def first(scores: np.ndarray) -> float:
    """Return how often the product bought comes first."""
    return float((np.nanargmax(scores, axis=1) == 0).mean())


def test_it_learns_which_texts_follow_each_other(trained: CrossEncoder, settings: Settings) -> None:
    """Popularity, the same for all products here, and similar texts would find one in five."""
    lists = lists_of_opposites(300, 1)
    untrained = CrossEncoder(settings, TITLES, TITLES).score(lists)
    assert first(untrained) < 0.35
    assert first(trained.score(lists)) > 0.8


def test_a_score_does_not_depend_on_the_batch(trained: CrossEncoder) -> None:
    lists = lists_of_opposites(40, 2)
    scores = trained.score(lists)
    assert (np.isnan(scores) == (lists.candidates < 0)).all()
    alone = np.vstack([trained.score(lists.take(slice(row, row + 1))) for row in range(5)])
    assert alone == pytest.approx(scores[:5], abs=0.1, nan_ok=True)  # bf16


@pytest.mark.slow
def test_a_killed_training_gives_the_same_weights(settings: Settings, tmp_path: Path) -> None:
    lists = lists_of_opposites(320, 3)  # 40 steps

    def fitted(folder: Path, most: int | None = None) -> CrossEncoder:
        reader = CrossEncoder(settings, TITLES, TITLES)
        logits, calls = reader.logits, 0

        def counted(*pairs: np.ndarray) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if most is not None and calls > most:
                raise KeyboardInterrupt
            return logits(*pairs)

        reader.logits = counted  # type: ignore[method-assign]
        reader.fit(lists, settings, 0, folder)
        return reader

    whole = fitted(tmp_path / "whole").network.state_dict()
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "killed", 30)
    again = fitted(tmp_path / "killed", 20).network.state_dict()  # the checkpoint is of step 20
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_the_vector_pair_reproduces_the_scores(
    trained: CrossEncoder, settings: Settings, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    vectors = np.eye(len(COLOURS))[COLOUR] + 0.1 * random.normal(size=(len(TITLES), len(COLOURS)))
    lists = lists_of_opposites(600, 4)
    scores = trained.score(lists)
    _, agreement = distil(lists, scores, vectors.astype(np.float32), settings, 0, tmp_path)
    assert agreement > 0.7
    shuffled = np.where(np.isnan(scores), np.nan, random.permuted(scores))
    _, none = distil(lists, shuffled, vectors.astype(np.float32), settings, 0, tmp_path / "other")
    assert none < 0.4
