"""The causal model: what its loss and its likelihoods are, what adapters learn, how they resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from components.language.causal_recommender import CausalRecommender
from components.language.cross_encoder import Lists
from components.language.packaged import packaged_folder
from tests.encoders import write_small_writer

COLOURS = ("red", "blue", "green", "white", "black", "pink")
THINGS = ("bag", "mug", "candle", "lamp", "plate", "clock", "towel", "basket")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
WRITER = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with random weights and the packaged encoder's tokenizer."""
    return write_small_writer(
        tmp_path_factory.mktemp("llama"), positions=128, tied=True, spread=0.3
    )


def lists_of_colours(n: int, seed: int) -> Lists:
    """Return lists of a shop whose customers buy one colour: the next product has it, too."""
    random = np.random.default_rng(seed)
    colour = random.integers(0, len(COLOURS), (n, 1)) * len(THINGS)
    things = np.argsort(random.random((n, len(THINGS))), axis=1)[:, :3]
    others = random.integers(0, len(TITLES), (n, 4))
    return Lists(colour + things[:, :2], np.hstack([colour + things[:, 2:], others]))


def test_the_likelihood_is_that_of_the_model_read_whole(folder: Path) -> None:
    """Against one forward pass over history and title together, without the kept history."""
    model = CausalRecommender(folder, TITLES)
    lists = Lists(np.array([[3, 9]]), np.array([[12, -1, 20]]))
    scores = model.score(lists)

    def of(past: list[int], code: int) -> float:
        ids = model._prompt(np.array(past, dtype=np.int64))
        title = [*model._titles[code], model._end]
        with torch.inference_mode():
            logits = model.model(torch.tensor([ids + title])).logits[0].float().log_softmax(dim=-1)
        places = range(len(ids) - 1, len(ids) + len(title) - 1)
        return sum(logits[at, token].item() for at, token in zip(places, title, strict=True))

    expected = [of([3, 9], code) - of([], code) for code in (12, 20)]
    assert scores[0, [0, 2]] == pytest.approx(expected, abs=0.2)  # bf16 where the CPU is fast at it
    assert np.isnan(scores[0, 1])


def test_the_loss_counts_the_bought_title_alone(folder: Path) -> None:
    """The mean over a title's tokens is its log-likelihood; padding changes nothing."""
    model = CausalRecommender(folder, TITLES)
    short, long = np.array([[3, -1]]), np.array([[3, 9]])
    bought = np.array([[12]])
    with torch.inference_mode():
        alone = [model.loss(Lists(past, bought)).item() for past in (short, long)]
        both = model.loss(Lists(np.vstack([short, long]), np.repeat(bought, 2, axis=0))).item()
    assert both == pytest.approx(np.mean(alone), rel=1e-4)
    n = len(model._titles[12]) + 1
    for past, loss in zip((short, long), alone, strict=True):
        found = model._log_likelihood(past[0], bought[0])[0]
        assert -found / n == pytest.approx(loss, rel=0.02)


@pytest.mark.slow
def test_adapters_learn_what_follows_and_a_killed_training_gives_the_same_ones(
    folder: Path, tmp_path: Path
) -> None:
    """Colours: the held-out loss falls, and products of the history's colour get more likely."""
    lists, held_out = lists_of_colours(256, 0), lists_of_colours(48, 1)

    def trained(place: Path, steps_done: int = 40) -> CausalRecommender:
        model = CausalRecommender(folder, TITLES)
        stop = model.loss
        calls = 0

        def counted(batch: Lists) -> torch.Tensor:
            nonlocal calls
            calls += torch.is_grad_enabled()
            if calls > steps_done:
                raise KeyboardInterrupt
            return stop(batch)

        model.loss = counted  # type: ignore[method-assign]
        model.log = model.fit(lists, held_out, 40, 16, 2e-2, place, every=10)  # type: ignore[attr-defined]
        return model

    whole = trained(tmp_path / "whole")
    losses = [one["held_out"] for one in whole.log if "held_out" in one]  # type: ignore[attr-defined]
    before = CausalRecommender(folder, TITLES).held_out_loss(held_out)
    assert min(losses) < before - 1
    scores = whole.score(held_out)
    others = held_out.candidates[:, 1:] // len(THINGS) != held_out.candidates[:, :1] // len(THINGS)
    assert scores[:, 0].mean() > scores[:, 1:][others].mean() + 0.3

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", 27)
    again = trained(tmp_path / "killed", 20)  # the last checkpoint is that of step 20
    for (name, one), other in zip(
        whole.model.named_parameters(), again.model.parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_state_is_that_of_the_last_token_whatever_is_padded(folder: Path) -> None:
    model = CausalRecommender(folder, TITLES)
    past = np.array([[3, -1, -1], [3, 9, 20], [-1, -1, -1]])
    together = model.states(past)
    alone = np.vstack([model.states(row[None]) for row in past])
    assert together == pytest.approx(alone, abs=0.02)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_the_packaged_model_knows_which_product_follows_before_any_training() -> None:
    titles = ["tea pot", "set of tea cups", "dog lead", "dog bowl", "birthday card"]
    model = CausalRecommender(packaged_folder(WRITER), titles)
    scores = model.score(Lists(np.array([[0], [2]]), np.array([[1, 3, 4], [3, 1, 4]])))
    assert scores.argmax(axis=1).tolist() == [0, 0]
