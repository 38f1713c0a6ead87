"""Deployments to work pools: resources, Kubernetes' manifest, and runs by a real worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import jsonschema
import pytest
import yaml
from prefect.client.schemas.objects import WorkPool
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.templating import apply_values

from components.project.folder import write_folder
from components.settings import Resources, Settings
from flows.work_pool import (
    DeployError,
    ShopRepository,
    default_template,
    job_variables,
    kubernetes_template,
    not_limited,
    repository,
)
from tests.conftest import REPOSITORY, absent
from tests.kubernetes import check_manifest
from tests.object_store import SECRET, ObjectStore
from tests.processes import end, free_port, programs, run, wait_until
from tests.repositories import USER

VIEW = files("prefect.server.api.collections_data") / "views/aggregate-worker-metadata.json"
TEMPLATES = {
    kind: one["default_base_job_configuration"]
    for kinds in json.loads(VIEW.read_text(encoding="utf-8")).values()
    for kind, one in kinds.items()
}
ASKED = Resources(memory_gb=12, cpus=2.5, gpus=1)


def pool(kind: str, template: dict[str, Any] | None = None) -> WorkPool:
    return WorkPool(name="shop", type=kind, base_job_template=template or TEMPLATES[kind])


def manifest(template: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest as Prefect renders it, with the fields that its worker adds."""
    known = template["variables"]["properties"]
    values = {name: one["default"] for name, one in known.items() if "default" in one} | asked
    made = apply_values(template["job_configuration"]["job_manifest"], values)
    made["metadata"] |= {"labels": {}, "generateName": "shop-"}
    container = made["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "PREFECT_API_URL", "value": "http://prefect:4200/api"}]
    container["args"] = ["prefect", "flow-run", "execute"]
    return made


def test_a_kubernetes_job_has_the_resources_and_fits_the_apis_schema() -> None:
    template = kubernetes_template(TEMPLATES["kubernetes"])
    asked = job_variables(pool("kubernetes", template), ASKED, True, "shop:1", "/mnt/shop")
    made = manifest(template, asked)
    check_manifest(made)
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "shop:1"
    assert container["resources"] == {
        "requests": {"memory": "12000M", "cpu": "2500m"},
        "limits": {"memory": "12000M", "nvidia.com/gpu": 1},
    }
    assert container["volumeMounts"] == [{"name": "shop", "mountPath": "/mnt/shop"}]
    assert container["envFrom"] == [{"secretRef": {"name": "bowerbird", "optional": True}}]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "bowerbird"}

    monitoring = job_variables(pool("kubernetes", template), ASKED, False, None, "")
    assert "gpus" not in monitoring
    plain = manifest(
        template, job_variables(pool("kubernetes", template), Resources(), True, None, "")
    )
    check_manifest(plain)
    assert "nvidia.com/gpu" not in json.dumps(plain)
    with pytest.raises(jsonschema.ValidationError, match="parallelism"):  # Prefect's own
        check_manifest(manifest(TEMPLATES["kubernetes"], {}))


def test_a_pool_that_has_no_such_resource_is_named() -> None:
    with pytest.raises(DeployError, match=r"shop \(kubernetes\) has no gpus: .* job-template"):
        job_variables(pool("kubernetes"), Resources(gpus=1), True, None, "")
    with pytest.raises(DeployError, match=r"shop \(process\) has no image"):
        job_variables(pool("process"), Resources(), True, "shop:1", "")
    docker = job_variables(pool("docker"), ASKED, True, "shop:1", "/srv/shop")
    assert docker == {"image": "shop:1", "volumes": ["/srv/shop:/srv/shop"], "mem_limit": "12000m"}
    assert not_limited(pool("docker"), ASKED) == ["a pool of type docker does not limit cpus, gpus"]
    assert job_variables(pool("process"), ASKED, True, None, "") == {}
    (note,) = not_limited(pool("process"), ASKED)
    assert "process does not limit memory_gb, cpus, gpus" in note
    assert not_limited(pool("kubernetes"), ASKED) == []
    assert not_limited(pool("process"), Resources()) == []


def test_a_server_that_does_not_answer_is_named() -> None:
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(DeployError, match="not set"):
        default_template("kubernetes")
    url = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(DeployError, match=url):
        default_template("kubernetes")


def test_what_a_worker_clones_is_a_url_without_a_credential(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no remote that a worker can clone"):
        repository(tmp_path, None, None)
    with pytest.raises(DeployError, match=r"https://\*\*\*@git\.example/shop") as caught:
        repository(tmp_path, f"https://{SECRET}@git.example/shop", None)
    assert SECRET not in str(caught.value)
    subprocess.run(["git", "init", "--quiet", "-b", "live", tmp_path], check=True)
    url = "https://git.example/shop.git"
    subprocess.run(["git", "remote", "add", "origin", url], cwd=tmp_path, check=True)
    assert repository(tmp_path, None, None) == (url, "live")
    step = ShopRepository(url, "live", "/srv").to_pull_step()
    assert step == {
        "flows.clone.update_clone": {"repository": url, "branch": "live", "folder": "/srv"}
    }
    step = ShopRepository(url, "live").to_pull_step()
    assert step["prefect.deployments.steps.git_clone"]["repository"] == url


STAGES = ("code", "sources", "ingest")
REPORTS = {
    "validation.json": '{"interactions": {"rows": 1, "kept": 1, "quarantined": 0, "feedback": '
    '{"rows": 0, "kept": 0, "quarantined": 0}}}',
    "evaluation.csv": "model,ndcg@10,low,high,recall@10,mrr@10,coverage@10\nhybrid,1,1,1,1,1,1\n",
    "registration.json": '{"version": "1", "alias": "champion", "run_id": "", "data_version": "", '
    '"comparison": null, "not_compared": null}',
}


class Machines:
    """A shop's folder with a git remote and a DVC remote, Prefect's server, and workers."""

    def __init__(self, base: Path, source: Path, store: ObjectStore) -> None:
        self.base, self.shop = base, base / "shop"
        self.url = f"http://127.0.0.1:{free_port()}/api"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "BOWERBIRD_"))},
            **store.environment,
            "PATH": programs(),
            "PREFECT_HOME": str(base / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self._make_shop(source)

    def _make_shop(self, source: Path) -> None:
        """The first stages are the real ones; another has the reports that a training publishes."""
        (self.shop / "datasets").mkdir(parents=True)
        for name in ("lines.parquet", "reviews.csv.gz"):
            shutil.copy(source / name, self.shop / "datasets" / name)
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        params["ingest"]["interactions"][0]["path"] = "datasets/lines.parquet"
        params["ingest"]["reviews"][0]["path"] = "datasets/reviews.csv.gz"
        params["flows"] |= {"remote": True, "retries": 0, "training": "", "refresh": ""}
        params["flows"] |= {"monitoring": "", "retraining": "", "resources": {"memory_gb": 8}}
        write_folder(self.shop, yaml.safe_dump(params, sort_keys=False))
        shutil.copy(REPOSITORY / "rules.yaml", self.shop)
        stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
        kept = {name: stages[name] for name in STAGES}
        kept["reports"] = {
            "cmd": "mkdir -p reports && cp made/* reports",
            "deps": ["data/raw", "made"],
            "outs": [f"reports/{name}" for name in REPORTS],
        }
        (self.shop / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}, sort_keys=False))
        (self.shop / "made").mkdir()
        for name, text in REPORTS.items():
            (self.shop / "made" / name).write_text(text)
        self.run("dvc", "remote", "add", "--default", "storage", "s3://shop/dvc")
        self.run("git", "init", "--quiet", "--bare", str(self.base / "origin.git"))
        self.run("git", "remote", "add", "origin", f"file://{self.base / 'origin.git'}")
        self.commit("the shop")

    def commit(self, message: str) -> None:
        self.run("git", "add", ".")
        self.run("git", *USER, "commit", "--quiet", "-m", message)
        self.run("git", "push", "--quiet", "origin", "HEAD")

    def run(self, *command: str) -> str:
        return run(self.shop, self.environment, *command).stdout

    def start(self, folder: Path, *command: str) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes.append(process)

    def trained(self, client: httpx.Client) -> str:
        """Run a training to its end; return its log."""
        (found,) = client.post("/deployments/filter", json=named("training")).json()
        create = f"/deployments/{found['id']}/create_flow_run"
        once = {"idempotency_key": str(uuid4())}  # a busy server may have to be asked again
        run = wait_until(lambda: client.post(create, json=once).json()["id"], 60, "the run")

        limit = "/v2/concurrency_limits/bowerbird.bowerbird.training"
        slots = []  # in use, of the limit for all machines

        def ended() -> str:
            time.sleep(1)  # the server needs the processor too
            slots.append(client.get(limit).json()["active_slots"])
            kind = client.get(f"/flow_runs/{run}").json()["state"]["type"]
            return kind if kind in ("COMPLETED", "FAILED", "CRASHED") else ""

        state = wait_until(ended, 400, "the training")
        rule = {"logs": {"flow_run_id": {"any_": [run]}}}
        log = "\n".join(one["message"] for one in client.post("/logs/filter", json=rule).json())
        assert state == "COMPLETED", log
        assert set(slots) == {0, 1}
        return log


def named(flow: str) -> dict[str, Any]:
    return {"flows": {"name": {"any_": [flow]}}}


@pytest.fixture
def machines(
    bucket: Any, object_store: ObjectStore, small_shop: tuple[Path, Settings], tmp_path: Path
) -> Iterator[Machines]:
    if not find_spec("dvc_s3"):
        absent("no dvc-s3: make s3")
    made = Machines(tmp_path, small_shop[0], object_store)
    yield made
    for process in reversed(made.processes):
        end(process, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_train_from_a_clone_and_continue_each_others_work(machines: Machines) -> None:
    port = machines.url.rpartition(":")[2].partition("/")[0]
    machines.start(machines.base / "server", "prefect", "server", "start", "--port", port)
    refused = {"response": [httpx.Response.raise_for_status]}
    with httpx.Client(base_url=machines.url, timeout=30, event_hooks=refused) as client:
        wait_until(lambda: client.get("/health").status_code == 200, 120, "Prefect's server")
        machines.run("prefect", "work-pool", "create", "shops", "--type", "process")
        kept = machines.base / "kept"
        kept.mkdir()
        said = machines.run("bowerbird", "deploy", "--work-pool", "shops", "--folder", str(kept))
        assert "training/shop" in said
        assert said.count("note: a pool of type process does not limit memory_gb") == 1
        found = client.post("/deployments/filter", json={}).json()
        assert len(found) == 4
        assert {one["global_concurrency_limit"]["limit"] for one in found} == {1}
        assert SECRET not in json.dumps(found)

        machines.start(machines.base / "one", "prefect", "worker", "start", "--pool", "shops")
        log = machines.trained(client)
        assert "Running stage 'ingest'" in log
        (clone,) = (one.parent for one in kept.glob("*/params.yaml"))
        assert (clone / "reports/registration.json").exists()

        # Another machine: nothing of the first but the remotes. dvc.lock was not committed.
        shutil.rmtree(clone)
        log = machines.trained(client)
        assert "Stage 'ingest' is cached" in log
        assert "Running stage 'ingest'" not in log
        assert (clone / "data/raw").is_dir()
        assert SECRET not in log

        # A new dvc.lock upstream, before which Prefect's own step removed the whole clone.
        kept_file = clone / "models/language/checkpoints/step"
        kept_file.parent.mkdir(parents=True)
        kept_file.touch()
        shutil.copy(clone / "dvc.lock", machines.shop)
        with (machines.shop / "dvc.lock").open("a") as file:
            file.write("# by another\n")
        machines.commit("another dvc.lock")
        log = machines.trained(client)
        assert kept_file.exists()
        head = subprocess.run(
            ["git", "log", "-1", "--format=%s"], cwd=clone, capture_output=True, check=True
        )
        assert head.stdout == b"another dvc.lock\n"
        assert "Running stage 'ingest'" not in log
