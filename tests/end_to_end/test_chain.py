"""``dvc repro`` as a user types it: whole, resumed after kill -9, and idle without news."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from flows.rebuild import differences
from tests.compiled import copy_compiled
from tests.end_to_end.conftest import build_house

pytestmark = pytest.mark.timeout(1500)  # whole runs, on a machine that does other things too

EACH_TIME = ("code", "sources")
"""Stages that look at what DVC does not track; they run each time."""


def test_a_killed_run_ends_in_a_registered_champion(trained_house: Any) -> None:
    reports = trained_house.root / "reports"
    registration = json.loads((reports / "registration.json").read_text())
    assert (registration["version"], registration["alias"]) == ("1", "champion")
    pointer = json.loads((trained_house.root / "var/serving/champion.json").read_text())
    assert (trained_house.root / pointer["folder"] / "model.json").exists()
    for counts in json.loads((reports / "validation.json").read_text()).values():
        assert counts["rows"] == counts["kept"] + counts["quarantined"]
    table = pd.read_csv(reports / "evaluation.csv").set_index("model")
    params = yaml.safe_load((trained_house.root / "params.yaml").read_text())
    singles = table.loc[params["train"]["candidates"], "ndcg@10"]
    assert table.loc["hybrid", "ndcg@10"] > singles.max()
    page = (reports / "evaluation/report.html").read_text()
    assert page.count("<figure>") == 6
    assert (reports / "data_docs/index.html").exists()
    losses = json.loads((reports / "pretrain.json").read_text())
    assert losses["loss_end"] < losses["loss_start"]


def test_pretraining_was_taken_up_where_it_was_killed(trained_house: Any) -> None:
    log = pd.read_csv(trained_house.root / "reports/pretrain.csv")
    assert log["step"].is_monotonic_increasing
    assert log["step"].is_unique


def test_other_users_of_the_machine_read_nothing(trained_house: Any) -> None:
    root = trained_house.root
    closed = [root / name for name in ("data", "models", "reports", ".dvc/cache")]
    state = [root / "var", *(path for path in (root / "var").rglob("*") if not path.is_symlink())]
    assert (root / "var/mlflow/mlflow.db") in state
    assert [str(path) for path in [*closed, *state] if path.stat().st_mode & 0o077] == []


def test_the_summary_names_what_was_learned(trained_house: Any) -> None:
    text = trained_house.run("bowerbird", "summary").stdout
    assert "hybrid" in text
    assert "registered as version 1, alias champion" in text
    assert "bowerbird serve" in text


def test_a_second_run_only_looks_for_changed_files(trained_house: Any) -> None:
    done = trained_house.run("dvc", "repro")
    ran = re.findall(r"Running stage '(.+)'", done.stdout + done.stderr)
    assert sorted(ran) == sorted(EACH_TIME)
    stale = json.loads(trained_house.run("dvc", "status", "--json").stdout)
    assert stale == {key: ["always changed"] for key in EACH_TIME}


def test_one_parameter_reruns_only_what_depends_on_it(trained_house: Any) -> None:
    file = trained_house.root / "params.yaml"
    before = file.read_text()
    params = yaml.safe_load(before)
    params["evaluate"]["max_users"] = 150
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    try:
        stale = json.loads(trained_house.run("dvc", "status", "--json").stdout)
        assert stale.keys() == {"evaluate", *EACH_TIME}
        difference = trained_house.run("dvc", "params", "diff", "--json").stdout
        assert "evaluate.max_users" in difference
        would = trained_house.run("dvc", "repro", "--dry").stdout
        assert "bowerbird evaluate" in would
        assert "bowerbird fit" not in would
    finally:
        file.write_text(before)


def test_one_parameter_of_one_model_refits_that_model_only(trained_house: Any) -> None:
    file = trained_house.root / "params.yaml"
    before = file.read_text()
    params = yaml.safe_load(before)
    params["train"]["item_neighbours"]["neighbours"] = 150
    file.write_text(yaml.safe_dump(params, sort_keys=False))
    windows = ("validation", "test", "all")
    try:
        stale = json.loads(trained_house.run("dvc", "status", "--json").stdout)
        # The evaluation reads all of ``train``: leave_one_out fits the models itself.
        fits = {f"fit@{window}-item_neighbours" for window in windows}
        assert stale.keys() == {*fits, "evaluate", *EACH_TIME}
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_a_changed_rule_refits_no_other_model(trained_house: Any) -> None:
    file = trained_house.root / "rules.yaml"
    before = file.read_text()
    file.write_text(f"# The shop's rules.\n{before}")
    try:
        would = trained_house.run("dvc", "repro", "--single-item", "inputs").stdout
        assert "bowerbird inputs" in would
        stale = json.loads(trained_house.run("dvc", "status", "--json").stdout)
        assert "evaluate" in stale  # leave_one_out reads the rules, too
        assert not [stage for stage in stale if stage.startswith("fit@")]  # no rules among them
    finally:
        file.write_text(before)
        trained_house.run("dvc", "repro")


def test_metrics_and_plots(trained_house: Any) -> None:
    shown = json.loads(trained_house.run("dvc", "metrics", "show", "--json").stdout)
    metrics = shown[""]["data"]["reports/evaluation.json"]["data"]
    assert 0 < metrics["hybrid"]["ndcg@10"] < 1
    trained_house.run("dvc", "plots", "show", "--out", "var/plots")
    page = (trained_house.root / "var/plots/index.html").read_text()
    assert "reports/pretrain.csv" in page


def test_bad_settings_stop_with_the_key_and_what_to_do(trained_house: Any) -> None:
    file = trained_house.root / "params.yaml"
    before = file.read_text()
    try:
        file.write_text(before.replace("batch_size: 16", "batch_size: none", 1))
        done = trained_house.run("bowerbird", "pretrain", check=False)
        assert done.returncode == 1
        assert "pretrain.batch_size" in done.stderr
        params = yaml.safe_load(before)
        params["ingest"]["interactions"][0]["path"] = "datasets/none.parquet"
        file.write_text(yaml.safe_dump(params, sort_keys=False))
        done = trained_house.run("bowerbird", "ingest", check=False)
        assert done.returncode == 1
        assert "datasets/none.parquet" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        file.write_text(before)


def test_the_logged_model_answers_through_mlflow(trained_house: Any) -> None:
    code = (
        "import mlflow, pandas as pd;"
        "mlflow.set_tracking_uri('sqlite:///var/mlflow/mlflow.db');"
        "model = mlflow.pyfunc.load_model('models:/bowerbird@champion');"
        "frame = pd.DataFrame({'recent_items': [['85123A', '22423'], []]});"
        "answer = model.predict(frame, params={'k': 7});"
        "print([len(row) for row in answer['item_ids']], '85123A' in answer['item_ids'][0])"
    )
    for logged in (trained_house.root / "var/mlflow/artifacts").rglob("code"):
        copy_compiled(logged)
    done = trained_house.run("python", "-c", code)
    assert done.stdout.splitlines()[-1] == "[7, 7] False"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_in_every_stage_the_same_command_goes_on(tmp_path: Path) -> None:
    """kill -9 a moment after each stage began, some before and some after it has written much."""
    house = build_house(tmp_path)
    random = np.random.default_rng(0)
    stages = house.run("dvc", "stage", "list", "--name-only").stdout.split()
    for stage in stages:
        house.run("python", "-m", "flows.repair")  # as `make run` does
        process = house.start("dvc", "repro", log=f"{stage}.log")
        log = house.root / f"{stage}.log"
        while f"Running stage '{stage}'" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        time.sleep(random.uniform(0.5, 3))
        house.kill(process)
    house.run("python", "-m", "flows.repair")
    house.run("dvc", "repro")
    registration = json.loads((house.root / "reports/registration.json").read_text())
    assert registration["alias"] == "champion"
    pointer = json.loads((house.root / "var/serving/champion.json").read_text())
    assert (house.root / pointer["folder"] / "model.json").exists()
    stale = json.loads(house.run("dvc", "status", "--json").stdout)
    assert stale == {key: ["always changed"] for key in EACH_TIME}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_version_is_built_again_bit_for_bit(trained_house: Any, tmp_path: Path) -> None:
    """The registered training was killed and resumed, the one that is compared was not."""
    again = trained_house.run("bowerbird", "rebuild", "1", str(tmp_path / "again"))
    assert "version 1 is the same bit for bit" in again.stdout
    served = trained_house.root / "var/serving/models/1"
    # It can find a difference: the same folder, compared with a model that learned something else.
    ranker = tmp_path / "again/models/served/ranker.txt"
    ranker.write_text(ranker.read_text().replace("leaf_value=", "leaf_value=1", 1))
    assert differences(ranker.parent, served) == ("ranker.txt",)
    taken = trained_house.run("bowerbird", "rebuild", "1", str(tmp_path / "again"), check=False)
    assert taken.returncode == 1
    assert "is there already: name another folder" in taken.stderr
