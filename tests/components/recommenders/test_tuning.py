"""The search of parameters: it finds, gives up early, survives a kill, and never sees the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import psutil
import pytest
import sqlalchemy as sa
import yaml
from optuna.trial import TrialState
from typer.testing import CliRunner

import bowerbird
from components.credentials import Credential
from components.data.dataset import Prepared, load_prepared
from components.evaluation.metrics import ndcg
from components.recommenders import tuning
from components.settings import Settings, load_settings
from flows.tuning import tuning as tuning_flow
from tests.conftest import REPOSITORY
from tests.processes import end

LETHAL = """
import sys
from pathlib import Path
from components.evaluation.metrics import ndcg
from components.recommenders.tuning import tune
from components.settings import load_settings
tune("popularity", load_settings(sys.argv[1] + "/params.yaml"), Path(sys.argv[1]), 25, metric=ndcg)
"""


@pytest.fixture
def shop(trained: tuple[Path, Settings], tmp_path: Path) -> tuple[Path, Settings]:
    """A root with the prepared small shop, and its settings in params.yaml."""
    source, settings = trained
    for name in ("data", "models"):
        (tmp_path / name).symlink_to(source / name)
    text = yaml.safe_dump(settings.model_dump(mode="json", by_alias=True))
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path, settings


@pytest.mark.parametrize("model", list(tuning.spaces()))
def test_every_proposal_is_a_valid_setting(model: str, settings: Settings) -> None:
    section = getattr(settings.train, model)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    for _ in range(20):
        values = tuning.suggest(study.ask(), tuning.spaces()[model])
        type(section).model_validate(section.model_dump() | values)
        assert set(values) == set(tuning.spaces()[model])
        assert all(tuning.inside(values[key], tuning.spaces()[model][key]) for key in values)


def test_it_finds_better_values_and_gives_up_bad_ones(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    popularity = settings.train.popularity.model_copy(update={"half_life_days": 170.0})
    train = settings.train.model_copy(update={"popularity": popularity})
    settings = settings.model_copy(update={"train": train})
    study = tuning.tune("popularity", settings, root, trials=25, metric=ndcg)
    assert study.trials[0].params == {"half_life_days": 170.0}
    assert study.best_value > 1.05 * study.trials[0].value
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        assert len(trial.intermediate_values) == 3 or trial.state is TrialState.PRUNED

    folder = root / "var/search/popularity"
    table = pd.read_csv(folder / "trials.csv")
    assert len(table) == 25
    assert table["ndcg@10"].max() == pytest.approx(study.best_value)
    assert (folder / "trials.png").stat().st_size > 5000
    pasted = yaml.safe_load((folder / "best.yaml").read_text())["train"]["popularity"]
    assert pasted["half_life_days"] == pytest.approx(study.best_params["half_life_days"], rel=1e-3)
    type(popularity).model_validate(pasted)


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", LETHAL, str(root)], env=environment, stdout=subprocess.DEVNULL
    )
    storage = tuning.open_storage(settings.search.storage.get_secret_value(), root)
    name = tuning.study_name("popularity", settings, root)

    def finished() -> list[optuna.trial.FrozenTrial]:
        if name not in optuna.get_all_study_names(storage):
            return []
        return optuna.load_study(study_name=name, storage=storage).get_trials(
            states=tuning.FINISHED
        )

    deadline = time.monotonic() + 120
    while len(finished()) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {trial.number: (trial.params, trial.values) for trial in finished()}
    assert 3 <= len(before) < 25

    study = tuning.tune("popularity", settings, root, trials=25, metric=ndcg)
    after = {trial.number: (trial.params, trial.values) for trial in finished()}
    assert len(after) == 25
    assert before.items() <= after.items()
    drawn = [tuple(trial.params.values()) for trial in study.trials if trial.params]
    assert len(set(drawn)) > 23  # the resumed one does not repeat the first ones
    assert tuning.tune("popularity", settings, root, trials=25, metric=ndcg).trials == study.trials


def test_nothing_of_the_test_window_counts(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    x = prepared.interactions
    late = x.times >= prepared.test_start
    items = x.items.copy()
    items[late] = np.random.default_rng(0).permutation(items[late])

    def value(shop: Prepared) -> float:
        objective = tuning.Objective("content", settings, shop, root, ndcg)
        study = optuna.create_study(direction="maximize")
        study.enqueue_trial({"decay": 0.9})
        study.optimize(objective, n_trials=1)
        return study.best_value

    assert (items != x.items).any()
    assert value(prepared) == value(replace(prepared, interactions=replace(x, items=items)))


def test_a_search_in_postgresql(shop: tuple[Path, Settings], postgres: str) -> None:
    root, settings = shop
    stored = settings.search.model_copy(
        update={"storage": Credential(postgres), "user_shares": [1.0]}
    )
    settings = settings.model_copy(update={"search": stored})
    assert len(tuning.tune("popularity", settings, root, trials=3, metric=ndcg).trials) == 3
    assert len(tuning.tune("popularity", settings, root, trials=5, metric=ndcg).trials) == 5


def test_the_command_says_what_it_found_or_what_is_wrong(
    shop: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = shop
    monkeypatch.chdir(root)
    found = CliRunner().invoke(bowerbird.app, ["tune", "popularity", "--trials", "2"])
    assert found.exit_code == 0, found.output
    assert "half_life_days:" in found.output
    wrong = CliRunner().invoke(bowerbird.app, ["tune", "rules"])
    assert wrong.exit_code == 1
    assert "nothing to search; there are: popularity" in wrong.output
    monkeypatch.setenv("BOWERBIRD_SEARCH__STORAGE", "mysql://x/y")
    wrong = CliRunner().invoke(bowerbird.app, ["tune", "popularity"])
    assert "use sqlite:///file or postgresql://" in wrong.output
    assert str(load_settings(root / "params.yaml").search.storage).startswith("mysql")


@pytest.mark.slow
@pytest.mark.timeout(1500)  # a server of Prefect, and a minute until a trial counts as dead
def test_workers_of_a_flow_share_a_search_and_one_may_die(
    shop: tuple[Path, Settings], postgres: str
) -> None:
    """The command starts a real flow; a worker is killed in the middle of a trial."""
    root, settings = shop
    url = postgres.replace("bowerbird@", "bowerbird:hidden-word@")  # any password is accepted
    command = ["tune", "popularity", "--trials", "14", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bowerbird", *command],
        cwd=root,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API")},
            "PYTHONPATH": str(REPOSITORY),
            "BOWERBIRD_SEARCH__STORAGE": url,
            "PREFECT_HOME": str(root / "prefect"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    storage = tuning.open_storage(url, root)
    name = tuning.study_name("popularity", settings, root)

    def trials(*states: TrialState) -> list[optuna.trial.FrozenTrial]:
        if name not in optuna.get_all_study_names(storage):
            return []
        found = optuna.load_study(study_name=name, storage=storage)
        return found.get_trials(deepcopy=False, states=states or None)

    def workers() -> list[psutil.Process]:
        found = psutil.Process(process.pid).children(recursive=True)
        return [one for one in found if "--worker" in one.cmdline()]

    def seen_alive(found: list[optuna.trial.FrozenTrial]) -> bool:
        # One without a heartbeat never counts as dead.
        query = sa.text("SELECT trial_id FROM trial_heartbeats")
        with storage.engine.connect() as connection:
            return {one._trial_id for one in found} <= set(connection.scalars(query))

    try:
        deadline = time.monotonic() + 600
        killed = None
        while killed is None:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
            if len(trials(*tuning.FINISHED)) < 2 or len(running := workers()) < 2:
                continue
            for one in running:
                one.suspend()
            time.sleep(1)  # PostgreSQL still commits what was sent before
            inside = trials(TrialState.RUNNING)
            if len(inside) == 2 and seen_alive(inside):  # each is in the middle of one
                killed = running[0]
                killed.kill()
                running[1].resume()
            else:
                for one in running:
                    one.resume()
        said, _ = process.communicate(timeout=600)
    finally:
        end(process)
    assert process.returncode == 0, said
    assert 14 <= len(trials(*tuning.FINISHED)) <= 16
    (failed,) = trials(TrialState.FAIL)
    assert failed.number in {trial.number for trial in inside}
    (again,) = (
        trial for trial in trials() if trial.system_attrs.get("failed_trial") == failed.number
    )
    assert not failed.params or again.params == failed.params  # it may have died before it had any
    drawn = [tuple(t.params.values()) for t in trials(*tuning.FINISHED)]
    assert len(set(drawn)) > 11  # the workers do not propose the same
    assert "hidden-word" not in said
    assert "half_life_days:" in said
    assert len(pd.read_csv(root / "var/search/popularity/trials.csv")) == len(trials())
    pasted = yaml.safe_load((root / "var/search/popularity/best.yaml").read_text())
    best = max(trials(TrialState.COMPLETE), key=lambda trial: trial.value)
    assert pasted["train"]["popularity"]["half_life_days"] == pytest.approx(
        best.params["half_life_days"], rel=1e-3
    )


def test_several_workers_need_a_server_of_databases(
    shop: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop[0])
    with pytest.raises(ValueError, match="BOWERBIRD_SEARCH__STORAGE to a PostgreSQL URL"):
        tuning_flow.fn("popularity", workers=2)


def test_workers_have_samplers_of_their_own(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    # All are open before the first proposes: the number of trials, too, changes a sampler's seed.
    studies = [
        tuning.open_study("popularity", settings, root, worker) for worker in (0, 1, 2, 1_000_000)
    ]
    space = {"half_life_days": optuna.distributions.FloatDistribution(1, 400)}
    studies[0].ask(space)  # the present settings
    values = [study.ask(space).params["half_life_days"] for study in studies]
    assert len(set(values)) == 4


def test_a_worker_of_a_search_of_other_data_is_refused(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    ours = tuning.study_name("popularity", settings, root)
    with pytest.raises(ValueError, match="popularity-0000 is not of the data and settings of"):
        tuning.tune(
            "popularity", settings, root, 1, metric=ndcg, worker=1, expected="popularity-0000"
        )
    study = tuning.tune("popularity", settings, root, 1, metric=ndcg, worker=1, expected=ours)
    assert tuning.n_finished(study) == 1
