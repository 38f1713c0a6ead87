"""What a model is asked and judged on: nothing of the future, only what was new to the user."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_rel
from statsmodels.stats.multitest import multipletests

from components.data.dataset import Interactions, load_prepared
from components.data.holdout import window_task
from components.evaluation.protocol import (
    holm,
    interval,
    leave_one_out_task,
    paired_p_value,
    pairwise,
    sliced_ndcg,
    some_users,
)


@pytest.fixture(scope="module")
def prepared(prepared_folder):
    return load_prepared(prepared_folder)


@pytest.mark.parametrize("window", ["validation", "test"])
def test_histories_end_where_targets_begin(prepared, window) -> None:
    task = window_task(prepared, window, exclude_seen=True)
    start = prepared.validation_start if window == "validation" else prepared.test_start
    assert len(task.users) > 20
    assert (task.histories.times < start).all()
    x = prepared.interactions
    later = x.where(x.times >= start).matrix()
    assert task.targets.multiply(later[task.users]).nnz == task.targets.nnz


def test_targets_are_new_to_the_user(prepared) -> None:
    strict = window_task(prepared, "test", exclude_seen=True)
    loose = window_task(prepared, "test", exclude_seen=False)
    n_items = len(prepared.catalogue)
    assert strict.targets.multiply(strict.histories.seen(n_items)).nnz == 0
    assert loose.targets.multiply(loose.histories.seen(n_items)).nnz > 0


def test_new_users_are_asked_with_an_empty_history(prepared) -> None:
    task = window_task(prepared, "test", exclude_seen=True)
    empty = task.histories.lengths() == 0
    assert 0 < empty.sum() < len(empty)
    x = prepared.interactions
    first = np.array([x.times[x.users == user].min() for user in task.users[empty]])
    assert (first >= prepared.test_start).all()


def test_slices_judge_only_their_items(prepared) -> None:
    task = window_task(prepared, "test", exclude_seen=True)
    n_items = len(prepared.catalogue)
    chosen = np.arange(n_items) % 2 == 0
    rows, targets = task.only(chosen)
    perfect = np.full((len(task.users), 10), -1, dtype=np.int32)
    for row, target in zip(rows, range(len(rows)), strict=True):
        wanted = targets[target].indices[:10]
        perfect[row, : len(wanted)] = wanted
    assert sliced_ndcg(perfect, task, chosen) == pytest.approx(1)
    assert sliced_ndcg(perfect, task, ~chosen) == pytest.approx(0)


def test_interval_holds_the_mean_and_narrows_with_more_users() -> None:
    draws = np.random.default_rng(0).random(4000)
    low, high = interval(draws, 400, seed=1)
    few_low, few_high = interval(draws[:100], 400, seed=1)
    assert low < draws.mean() < high
    assert high - low < (few_high - few_low) / 3
    # The normal approximation of the same interval.
    half = 1.96 * draws.std() / np.sqrt(len(draws))
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_leave_one_out_asks_for_the_newest_event_of_those_who_have_two() -> None:
    x = Interactions.from_arrays(
        np.array([0, 0, 0, 1, 2, 2]), np.array([5, 3, 4, 1, 2, 0]), np.arange(6), 3, 6
    )
    train, task = leave_one_out_task(x)
    assert task.users.tolist() == [0, 2]
    assert task.targets.indices.tolist() == [4, 0]
    assert task.histories.items.tolist() == [5, 3, 2]
    assert len(train.users) == 3
    _, validation = leave_one_out_task(x, back=2)
    assert validation.users.tolist() == [0]
    assert validation.histories.items.tolist() == [5]


def test_the_paired_test_tells_a_difference_from_noise() -> None:
    random = np.random.default_rng(5)
    base = random.random(300)
    noise = random.standard_normal(300)
    assert paired_p_value(base, base) == 1
    assert paired_p_value(base, base + 0.1 + 0.1 * noise) < 0.01
    shifted = base + 0.01 + 0.1 * noise
    theirs = ttest_rel(base, shifted).pvalue
    assert paired_p_value(base, shifted) == pytest.approx(theirs, abs=0.03)


@pytest.mark.parametrize("users", [100, 2000])
def test_equally_good_models_are_told_apart_in_one_case_of_twenty(users: int) -> None:
    random = np.random.default_rng(11)
    p_values = []
    for _ in range(2000):
        bought = random.random((2, users)) < 0.3  # most lists have no hit, as in a real shop
        first, second = np.where(bought, random.beta(0.6, 2, (2, users)), 0.0)
        p_values.append(paired_p_value(first, second))
    # binomial: 0.05 ± 3 × sqrt(0.05 × 0.95 / 2000)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.median(p_values) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("users", [1, 2, 5, 9, 14])
def test_few_users_have_the_exact_p_value(users: int) -> None:
    difference = np.random.default_rng(users).normal(0.3, 1, users)
    found = paired_p_value(np.zeros(users + 3), np.append(difference, [0, 0, 0]))
    if users == 1:  # scipy asks for two
        assert found == 1
        return
    theirs = permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert found == pytest.approx(theirs.pvalue)
    same = np.full(users, 0.1)  # every sum is one of users + 1 values, met in many orders
    assert paired_p_value(np.zeros(users), same) == pytest.approx(2 / 2**users)


@pytest.mark.slow
@pytest.mark.parametrize("users", [15, 40, 400])
def test_many_users_agree_with_scipys_random_signs(users: int) -> None:
    random = np.random.default_rng(users)
    for share in (0.5, 0.6, 0.75):  # of the users for whom the second is better
        difference = random.beta(0.6, 2, users) * random.choice(
            [1, -1], users, p=[share, 1 - share]
        )
        theirs = permutation_test(
            (difference,), np.sum, permutation_type="samples", n_resamples=100_000,
            vectorized=True, batch=10_000, rng=random,
        ).pvalue  # fmt: skip
        assert paired_p_value(np.zeros(users), difference) == pytest.approx(theirs, abs=0.02)


def test_of_twelve_models_the_different_one_is_found_and_no_other() -> None:
    """Holm's factor for 66 pairs is what 1,000 random signs could not overcome."""
    random = np.random.default_rng(2)
    users = 1800
    taste = random.beta(0.6, 2, users)
    each = {
        f"similar {number}": np.where(random.random(users) < 0.3, taste, 0) for number in range(11)
    }
    each["better"] = np.where(random.random(users) < 0.45, taste, 0)
    pairs = pairwise(each)
    assert len(pairs) == 66
    found = {(one["better"], one["worse"]) for one in pairs if one["p"] < 0.05}
    assert found == {("better", name) for name in each if name != "better"}
    theirs = [ttest_rel(each[one["better"]], each[one["worse"]]).pvalue for one in pairs]
    corrected = multipletests(theirs, method="holm")[1]
    assert [one["p"] for one in pairs] == pytest.approx(corrected, abs=0.01)


def test_holm_agrees_with_statsmodels() -> None:
    p_values = np.random.default_rng(0).beta(0.3, 2, 28)
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected)


def test_pairs_say_which_is_better_and_whether_it_is_chance() -> None:
    random = np.random.default_rng(1)
    base = random.random(400)
    each = {"a": base, "b": base + 0.05, "c": base + 0.01 * random.standard_normal(400)}
    found = {(one["better"], one["worse"]): one for one in pairwise(each)}
    assert found["b", "a"]["difference"] == pytest.approx(0.05)
    assert found["b", "a"]["p"] < 0.01
    assert found["b", "c"]["p"] < 0.01
    (other,) = [one for pair, one in found.items() if "b" not in pair]
    assert other["p"] > 0.05


def test_some_users_are_drawn_once_and_for_all(prepared) -> None:
    task = window_task(prepared, "test", exclude_seen=True)
    few = some_users(task, 10, seed=3)
    assert len(few.users) == few.targets.shape[0] == len(few.histories) == 10
    assert few.users.tolist() == some_users(task, 10, seed=3).users.tolist()
    assert set(few.users) <= set(task.users)
    assert some_users(task, 0, seed=3) is task


def test_leave_one_out_without_what_was_had_before(prepared) -> None:
    _, every = leave_one_out_task(prepared.interactions)
    _, fresh = leave_one_out_task(prepared.interactions, exclude_seen=True)
    n_items = len(prepared.catalogue)
    assert fresh.targets.multiply(fresh.histories.seen(n_items)).nnz == 0
    assert 0 < len(fresh.users) < len(every.users)
