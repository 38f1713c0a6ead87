"""Matrix factorisation: the closed forms it claims, and ratings predicted better than by biases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.als import (
    MatrixFactorisation,
    Observed,
    RatingFactorisation,
    improve_implicit,
    solve,
    solve_implicit,
)
from components.settings import MatrixFactorisation as Settings
from components.settings import RatingFactorisation as RatingSettings

N_USERS, N_ITEMS, RANK = 300, 120, 3


def test_solve_is_the_dense_solution_of_each_row() -> None:
    """Rows of no, few (in their own size), and many entries (in the factors' size)."""
    random = np.random.default_rng(0)
    lengths = np.array([0, 1, 3, 3, 7, 8, 9, 30, 31, 29])
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = np.concatenate([random.permutation(40)[:n] for n in lengths])
    weights = sp.csr_matrix(
        (random.uniform(0.1, 3, len(rows)).astype(np.float32), (rows, columns)), (10, 40)
    )
    targets = random.standard_normal(weights.nnz).astype(np.float32)
    factors = random.standard_normal((40, 8)).astype(np.float32)
    ridge = 0.3 + 0.1 * lengths
    for gram in (None, factors.T @ factors):
        found = solve(Observed.of(weights), targets, factors, ridge, gram)
        for row in range(len(lengths)):
            own = slice(weights.indptr[row], weights.indptr[row + 1])
            v = factors[weights.indices[own]].astype(np.float64)
            w = np.diag(weights.data[own])
            left = v.T @ w @ v + ridge[row] * np.eye(8) + (0 if gram is None else gram)
            expected = np.linalg.solve(left, v.T @ w @ targets[own])
            assert found[row] == pytest.approx(expected, abs=1e-4), row


def test_implicit_minimises_its_loss_over_all_items() -> None:
    """Against least squares written out over all items, met or not."""
    random = np.random.default_rng(1)
    factors = random.standard_normal((25, 4)).astype(np.float32)
    met = np.zeros((1, 25), dtype=np.float32)
    met[0, [2, 5, 11]] = [1.0, 0.5, 0.25]
    found = solve_implicit(Observed.of(sp.csr_matrix(met)), factors, 7.0, 0.02)[0]
    ridge = 0.02 * 7 * 3 + 1e-3
    rows = [np.sqrt(7 * met[0])[:, None] * factors, factors, np.sqrt(ridge) * np.eye(4)]
    targets = [np.sqrt(7 * met[0]), met[0] > 0, np.zeros(4)]
    expected = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
    assert found == pytest.approx(expected, abs=1e-4)


def test_conjugate_gradients_reach_the_exact_solution() -> None:
    random = np.random.default_rng(2)
    factors = random.standard_normal((60, 6)).astype(np.float32)
    met = sp.random(1200, 60, 0.1, "csr", np.float32, random_state=3)  # in more parts than one
    exact = solve_implicit(Observed.of(met), factors, 5.0, 0.05)
    found = np.zeros_like(exact)
    distances = []
    for _ in range(8):
        found = improve_implicit(Observed.of(met), factors, 5.0, 0.05, found)
        distances.append(np.abs(found - exact).max())
    assert distances[0] < 0.5 * np.abs(exact).max()
    assert distances[-1] < 1e-4
    assert not found[np.diff(met.indptr) == 0].any()
    filled = improve_implicit(Observed.of(met), factors, 5.0, 0.05, np.ones_like(exact))
    assert not filled[np.diff(met.indptr) == 0].any()  # whatever it began with


def test_a_fit_ends_where_neither_side_can_be_improved(rated) -> None:
    """Compared with sweeps that solve each row exactly: the same lists."""
    train, _, catalogue = rated
    settings = Settings(factors=4, iterations=30, regularisation=0.1)
    model = MatrixFactorisation(settings).fit(train, catalogue)
    matrix = train.matrix()
    users = solve_implicit(Observed.of(matrix), model.factors, 10.0, 0.1)
    items = solve_implicit(Observed.of(matrix.T.tocsr()), users, 10.0, 0.1)
    assert np.corrcoef(items.ravel(), model.factors.ravel())[0, 1] > 0.999


@pytest.fixture(scope="module")
def rated() -> tuple[Interactions, Interactions, Catalogue]:
    """Ratings of rank three with biases and noise (0.3): those learned from, those held out."""
    random = np.random.default_rng(5)
    u, v = random.standard_normal((N_USERS, RANK)), random.standard_normal((N_ITEMS, RANK))
    truth = 3 + 0.4 * random.standard_normal((N_USERS, 1)) + 0.4 * random.standard_normal(N_ITEMS)
    truth = truth + 0.4 * u @ v.T + 0.3 * random.standard_normal(truth.shape)
    users, items = np.nonzero(random.random(truth.shape) < 0.25)
    times = 1_600_000_000 + random.permutation(len(users))
    known = Interactions.from_arrays(users, items, times, N_USERS, N_ITEMS)
    known = replace(known, ratings=truth[known.users, known.items].astype(np.float32))
    held_out = random.random(len(known)) < 0.2
    table = pd.DataFrame({"item_id": [f"i{code}" for code in range(N_ITEMS)]})
    return known.where(~held_out), known.where(held_out), Catalogue(table)


def everybody(train: Interactions) -> Histories:
    return train.histories(np.arange(N_USERS), 2_000_000_000)


def rmse(model: RatingFactorisation, train: Interactions, held_out: Interactions) -> float:
    scores = model.score(everybody(train))
    return float(np.sqrt(np.mean((scores[held_out.users, held_out.items] - held_out.ratings) ** 2)))


def test_held_out_ratings_are_predicted_better_than_by_biases_and_near_the_noise(rated) -> None:
    train, held_out, catalogue = rated
    found = {
        factors: rmse(
            RatingFactorisation(RatingSettings(factors=factors, regularisation=1.5)).fit(
                train, catalogue
            ),
            train,
            held_out,
        )
        for factors in (0, RANK)
    }
    spread = float(np.std(held_out.ratings))
    assert found[0] < 0.9 * spread  # biases know something
    assert found[RANK] < 0.65 * found[0]  # factors know more
    assert found[RANK] < 0.3 * 1.5  # the noise is 0.3


def test_each_sweep_lowers_the_regularised_squared_loss(rated) -> None:
    train, _, catalogue = rated
    losses = []
    for sweeps in (1, 2, 4, 8):
        settings = RatingSettings(factors=4, iterations=sweeps, regularisation=2.0)
        model = RatingFactorisation(settings).fit(train, catalogue)
        matrix = sp.csr_matrix(
            (train.ratings - model.mean, (train.users, train.items)), (N_USERS, N_ITEMS)
        )
        users = model._side(matrix, model.factors)
        errors = model.score(everybody(train))[train.users, train.items] - train.ratings
        losses.append((errors**2).sum() + 2.0 * ((users**2).sum() + (model.factors**2).sum()))
    assert (np.diff(losses) < 0).all(), losses


def test_what_a_new_history_rated_decides_and_the_newest_rating_counts(rated) -> None:
    train, _, catalogue = rated
    model = RatingFactorisation(RatingSettings(factors=RANK, regularisation=1.5)).fit(
        train, catalogue
    )
    generous, unrated = Histories.from_lists([[1, 2, 3, 1], []]), Histories.from_lists([[1, 2]])
    ratings = np.array([1, 5, 5, 5], dtype=np.float32)
    scores = model.score(replace(generous, ratings=ratings))
    newest = Histories.from_lists([[2, 3, 1]])
    alone = model.score(replace(newest, ratings=np.array([5, 5, 5], dtype=np.float32)))
    assert scores[0] == pytest.approx(alone[0], abs=1e-5)
    assert scores[0].mean() > scores[1].mean()
    means = model.mean + model.factors[:, 0]
    assert scores[1] == pytest.approx(means, abs=1e-5)
    assert model.score(unrated)[0] == pytest.approx(means, abs=1e-5)
    half = replace(unrated, ratings=np.array([np.nan, 5], dtype=np.float32))
    only = replace(Histories.from_lists([[2]]), ratings=np.array([5], dtype=np.float32))
    assert model.score(half) == pytest.approx(model.score(only), abs=1e-5)


def test_histories_carry_their_ratings(rated) -> None:
    train, _, _ = rated
    histories = everybody(train)
    cut = histories.take(slice(3, 5)).last(2)
    for row, user in enumerate((3, 4)):
        own = slice(train.offsets[user], train.offsets[user + 1])
        kept = slice(cut.offsets[row], cut.offsets[row + 1])
        assert (cut.ratings[kept] == train.ratings[own][-2:]).all()
    assert (
        replace(train, ratings=train.ratings * np.nan).histories(np.arange(3), 10).ratings is None
    )


def test_picked_and_shortened_histories_keep_their_ratings(rated) -> None:
    train, _, catalogue = rated
    model = RatingFactorisation(RatingSettings(factors=2, iterations=3)).fit(train, catalogue)
    histories = everybody(train)
    rows = np.array([7, 2, 7])
    assert np.array_equal(histories.pick(rows).ratings, histories.ratings[events_of(train, rows)])
    scores = model.score(histories)
    np.testing.assert_allclose(model.score(histories.pick(rows)), scores[rows], atol=1e-5)
    keep = histories.items != histories.items[0]
    some = histories.where(keep)
    assert np.array_equal(some.ratings, histories.ratings[keep])
    assert (some.lengths() <= histories.lengths()).all()


def events_of(train: Interactions, users: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(*train.offsets[user : user + 2]) for user in users])


def test_saved_and_loaded_it_answers_the_same(rated, tmp_path: Path) -> None:
    train, _, catalogue = rated
    model = RatingFactorisation(RatingSettings(iterations=2)).fit(train, catalogue)
    model.save(tmp_path)
    histories = everybody(train)
    loaded = RatingFactorisation.load(tmp_path)
    assert np.array_equal(loaded.score(histories), model.score(histories))


def test_without_ratings_it_says_what_to_do(rated) -> None:
    train, _, catalogue = rated
    without = replace(train, ratings=train.ratings * np.nan)
    with pytest.raises(ValueError, match=r"ingest\.interactions"):
        RatingFactorisation(RatingSettings()).fit(without, catalogue)
