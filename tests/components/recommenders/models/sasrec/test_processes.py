"""Training in several processes, started by torchrun: one process's loss, files by the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from components.data.dataset import load_prepared
from components.recommenders.factory import load_model
from components.settings import Settings
from tests.conftest import REPOSITORY
from tests.ray_cluster import require_ray

TRAINING = """
import json, os, sys
from pathlib import Path
from components.distributed import is_main_process
from components.recommenders.models.sasrec.network import Training
from tests.components.recommenders.models.sasrec.ring import SMALL, in_a_ring

folder, killed_after, changes = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
process = os.environ["RANK"]
state = folder / (process if sys.argv[4:] else "") / "state.safetensors"
keep = Training._keep

def kept(self, *arguments):
    keep(self, *arguments)
    (folder / f"written-by-{process}").touch()
    if len(self.losses) == killed_after:
        os._exit(1)

Training._keep = kept
train, catalogue = in_a_ring()
training = Training(SMALL.model_copy(update=changes), 1, state)
training.fast = False  # in bf16 a batch and its halves are rounded differently
network, vectors = training.run(train, catalogue.vectors)
(folder / f"losses-{process}.json").write_text(json.dumps(training.losses))
"""
IN_RAY = """
import runpy, sys
import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

def train(arguments):
    sys.argv = arguments
    runpy.run_path(arguments[0])

ray.init(num_cpus=3, include_dashboard=False, _node_ip_address="127.0.0.1")
trainer = TorchTrainer(
    train,
    train_loop_config=sys.argv[2:],
    scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(storage_path=sys.argv[1]),
)
trainer.fit()
"""
"""Runs a script in two processes of Ray Train: its store, then the script and its arguments."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
QUIET = {"dropout": 0.0, "id_dropout": 0.0, "epochs": 6}


def torchrun(processes: int, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [sys.executable, *start, *map(str, command)],
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )


def losses(
    base: Path, processes: int, changes: dict[str, float], killed_after: int = 0
) -> list[float] | None:
    """Return the losses that each process reports, None if the training was killed."""
    base.mkdir(exist_ok=True)
    script = base / "training.py"
    script.write_text(TRAINING)
    done = torchrun(processes, script, base, killed_after, json.dumps(changes), cwd=base)
    if killed_after:
        assert done.returncode != 0
        return None
    assert done.returncode == 0, done.stderr
    found = [json.loads(file.read_text()) for file in sorted(base.glob("losses-*.json"))]
    assert len(found) == processes
    assert all(one == found[0] for one in found)
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_two_processes_give_the_loss_of_one(tmp_path: Path, full_softmax_items: int) -> None:
    """Without dropout only rounding differs, or the sample of the negatives."""
    changes = QUIET | {"full_softmax_items": full_softmax_items, "negatives": 40}
    one, two = (losses(tmp_path / str(n), n, changes) for n in (1, 2))
    assert one[-1] < 0.7 * one[0]
    assert two == pytest.approx(one, rel=0.001 if full_softmax_items else 0.25)


@pytest.mark.slow
def test_ray_train_gives_the_loss_of_one(tmp_path: Path) -> None:
    """The same script as under torchrun, unchanged."""
    require_ray()
    one = losses(tmp_path / "one", 1, QUIET)
    base = tmp_path / "two"
    base.mkdir()
    (base / "training.py").write_text(TRAINING)
    (tmp_path / "in_ray.py").write_text(IN_RAY)
    command = (tmp_path / "in_ray.py", tmp_path / "store", base / "training.py", base, 0)
    done = subprocess.run(
        [sys.executable, *map(str, command), json.dumps(QUIET)],
        cwd=base,
        env=ENVIRONMENT | {"RAY_USAGE_STATS_ENABLED": "0"},
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads((base / f"losses-{process}.json").read_text()) for process in (0, 1)]
    assert found[0] == found[1] == pytest.approx(one, rel=0.001)


@pytest.mark.slow
def test_a_killed_training_in_two_processes_goes_on(tmp_path: Path) -> None:
    """With dropout; the first process alone writes the checkpoint, both read it."""
    whole = losses(tmp_path / "whole", 2, {"epochs": 5})
    assert (tmp_path / "whole/written-by-0").exists()
    assert not (tmp_path / "whole/written-by-1").exists()
    killed = tmp_path / "killed"
    losses(killed, 2, {"epochs": 5}, killed_after=2)
    assert (killed / "state.safetensors").exists()
    assert losses(killed, 2, {"epochs": 5}) == whole
    assert not (killed / "state.safetensors").exists()


@pytest.mark.slow
def test_processes_do_not_go_on_from_other_epochs(tmp_path: Path) -> None:
    """As on two machines without a common folder: the second has no checkpoint."""
    losses(tmp_path, 2, {"epochs": 5}, 2)
    (tmp_path / "0").mkdir()
    (tmp_path / "state.safetensors").rename(tmp_path / "0/state.safetensors")
    command = (tmp_path / "training.py", tmp_path, 0, json.dumps({"epochs": 5}), "apart")
    refused = torchrun(2, *command, cwd=tmp_path)
    assert refused.returncode != 0
    assert "on several machines they need one folder" in refused.stderr


@pytest.mark.slow
def test_the_command_writes_one_model(trained: tuple[Path, Settings], tmp_path: Path) -> None:
    source, settings = trained
    for name in ("data/prepared", "models/vectors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(source / name)
    values = settings.model_dump(mode="json", by_alias=True)
    values["train"]["sequential"] |= {"epochs": 2, "dimensions": 16, "layers": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    made = {}
    for processes in (1, 2):
        command = ("-m", "bowerbird", "fit", "--model", "sequential", "--window", "all")
        done = torchrun(processes, *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("sequential") == 1
        assert done.stderr.count("100 %, epoch 2 of 2") == 1
        made[processes] = load_model(tmp_path / "models/candidates/all/sequential")
    x = load_prepared(source / "data/prepared").interactions
    histories = x.histories(np.arange(50), x.times.max() + 1)
    one, two = (made[n].score(histories) for n in (1, 2))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.9

    refused = torchrun(
        2, "-m", "bowerbird", "fit", "--model", "popularity", "--window", "all", cwd=tmp_path
    )
    assert refused.returncode != 0
    assert "popularity is fitted in one process: run it without torchrun" in refused.stderr
