"""The flows as deployments of a Prefect work pool: ``bowerbird deploy``.

In: ``flows`` of params.yaml, and the git repository of the shop's folder. Out: deployments whose
runs a worker starts as processes, containers or Kubernetes jobs. Each run clones the repository;
the flows' code is the installed package of the worker or the image.
"""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPool
from prefect.deployments.runner import RunnerDeployment, deploy
from prefect.exceptions import ObjectNotFound
from prefect.runner.storage import GitRepository
from prefect.settings import get_current_settings

from components.credentials import mask_credentials
from components.settings import Resources, Settings, url_of
from flows.clone import update_clone
from flows.deployments import deployments
from flows.stages import limit_name

TRAINING = ("training", "retraining", "tuning")
"""The flows that train models: a GPU is for them alone."""
SEARCH = "tuning"


class DeployError(ValueError):
    """The flows cannot be deployed so; the message says what to do."""


class ShopRepository(GitRepository):
    """The shop's git repository, cloned below a folder of the worker that outlives a run.

    folder: "" for the temporary folder of a run.
    """

    def __init__(self, url: str, branch: str | None, folder: str = "") -> None:
        super().__init__(url, branch=branch)
        self.folder = folder

    def to_pull_step(self) -> dict[str, Any]:
        """Return the step that a run begins with."""
        if not self.folder:
            return super().to_pull_step()
        inputs = {"repository": self._url, "branch": self._branch, "folder": self.folder}
        return {f"{update_clone.__module__}.{update_clone.__name__}": inputs}


def deploy_flows(
    settings: Settings,
    root: Path,
    work_pool: str,
    image: str | None = None,
    source: str | None = None,
    branch: str | None = None,
    folder: str = "",
) -> list[str]:
    """Deploy the flows to a work pool; return their names.

    image: of containers, as the registry has it; it is not built. source, branch: of the git
    repository; None: those of ``root``. folder: as in ``ShopRepository``.

    Raises:
        DeployError: the work pool does not exist or cannot run the flows so, or there is no
            repository.
    """
    if not settings.flows.remote:
        raise DeployError(
            "flows.remote is false, so outputs would stay on the worker: set it to true, and a "
            "DVC remote (dvc remote add --default storage s3://BUCKET/FOLDER)"
        )
    source, branch = repository(root, source, branch)
    pool = read_pool(work_pool)
    made = deployments(settings)
    for one in made:
        trains = one.flow_name in TRAINING
        one.storage = ShopRepository(source, branch, folder)
        # Several machines may search together.
        one.concurrency_limit = None if one.flow_name == SEARCH else 1
        one.job_variables = job_variables(pool, settings.flows.resources, trains, image, folder)
    limit_trainings(settings)
    _apply(made, work_pool)
    for note in [*not_limited(pool, settings.flows.resources), *local_state(settings)]:
        print(f"note: {note}")
    return [f"{one.flow_name}/{one.name}" for one in made]


def repository(root: Path, source: str | None, branch: str | None) -> tuple[str, str | None]:
    """Return URL and branch of the repository that runs clone.

    Raises:
        DeployError: ``root`` is no repository with a remote, or the URL holds a credential.
    """
    if source is None:
        source = _git(root, "remote", "get-url", "origin")
        branch = branch or _git(root, "branch", "--show-current")
    if not source:
        raise DeployError(
            "this folder's repository has no remote that a worker can clone: git remote add origin "
            "URL and git push, or --source URL"
        )
    if mask_credentials(source) != source:
        raise DeployError(
            f"the URL {mask_credentials(source)} holds a credential, which Prefect's server would "
            "show: use one without, and give the worker a deploy key or git's credential helper"
        )
    return source, branch or None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def read_pool(name: str) -> WorkPool:
    """Return a work pool.

    Raises:
        DeployError: there is none of this name.
    """
    with _client() as client:
        try:
            return client.read_work_pool(name)
        except ObjectNotFound as error:
            raise DeployError(
                f"there is no work pool {name}: prefect work-pool create {name} --type process (or "
                "docker; for kubernetes with --base-job-template, see `bowerbird job-template`)"
            ) from error


def limit_trainings(settings: Settings) -> None:
    """Make Prefect's concurrency limit of one training or refresh at a time."""
    with _client() as client:
        client.upsert_global_concurrency_limit_by_name(limit_name(settings), 1)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """Open a client of the server of $PREFECT_API_URL.

    Raises:
        DeployError: the variable is not set, or the server does not answer or refuses.
    """
    url = get_current_settings().api.url
    if not url:  # Prefect would start a server that ends with this command
        raise DeployError("PREFECT_API_URL is not set: set it to the server's http://…/api")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        login = ": set PREFECT_API_AUTH_STRING to its login" if status == 401 else ""
        raise DeployError(f"Prefect's server at {url} answers {status}{login}") from error
    except httpx.HTTPError as error:
        raise DeployError(f"Prefect's server at {url} does not answer ({error})") from error


def job_variables(
    pool: WorkPool, resources: Resources, trains: bool, image: str | None, folder: str
) -> dict[str, Any]:
    """Return what a run asks its work pool for, by the names of the pool's type.

    Raises:
        DeployError: the base job template of the pool has no variable for it.
    """
    wanted: dict[str, Any] = {"image": image} if image else {}
    if pool.type == "docker" and folder:
        wanted["volumes"] = [f"{folder}:{folder}"]
    if pool.type == "kubernetes":
        wanted |= {"folder": folder} if folder else {}
        wanted |= _for_kubernetes(resources, trains)
    elif pool.type == "docker" and resources.memory_gb:
        wanted["mem_limit"] = f"{_megabytes(resources)}m"
    known = pool.base_job_template.get("variables", {}).get("properties", {})
    if missing := [name for name in wanted if name not in known]:
        raise DeployError(
            f"the work pool {pool.name} ({pool.type}) has no {', '.join(missing)}: leave it out, "
            "or add it to its base job template (for kubernetes: `bowerbird job-template FILE`)"
        )
    return wanted


def not_limited(pool: WorkPool, resources: Resources) -> list[str]:
    """Return a sentence that names the resources that a pool of this type does not limit, if any.

    >>> not_limited(WorkPool(name="shop", type="process"), Resources(cpus=4, gpus=1))
    ['a pool of type process does not limit cpus, gpus']
    """
    limited = {"kubernetes": {"memory_gb", "cpus", "gpus"}, "docker": {"memory_gb"}}
    left = [name for name, value in resources if value and name not in limited.get(pool.type, ())]
    return [f"a pool of type {pool.type} does not limit {', '.join(left)}"] if left else []


def _for_kubernetes(resources: Resources, trains: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if resources.memory_gb:
        found |= dict.fromkeys(("memory_request", "memory_limit"), f"{_megabytes(resources)}M")
    if resources.cpus:
        found["cpu_request"] = f"{round(resources.cpus * 1000)}m"
    if resources.gpus and trains:
        found["gpus"] = resources.gpus
    return found


def _megabytes(resources: Resources) -> int:
    return round(resources.memory_gb * 1000)


def _apply(made: list[RunnerDeployment], work_pool: str) -> None:
    ids = deploy(
        *made, work_pool_name=work_pool, build=False, push=False, ignore_warnings=True,
        print_next_steps_message=False,
    )  # fmt: skip
    if len(ids) != len(made):
        raise DeployError("Prefect refused deployments, see above")


def local_state(settings: Settings) -> list[str]:
    """Return what other machines do not see, because it lies in a file of this folder."""
    notes = []
    register = settings.register_
    if register.tracking_uri.get_secret_value().startswith("sqlite"):
        notes.append("MLflow's database is a file: set BOWERBIRD_REGISTER__TRACKING_URI on workers")
    if not url_of(register.artifacts):
        notes.append("register.artifacts is a folder: set it to s3://BUCKET/FOLDER")
    if settings.serve.events_url.get_secret_value().startswith("sqlite"):
        notes.append("the events are in a file: set BOWERBIRD_SERVE__EVENTS_URL on workers")
    return notes


def kubernetes_template(default: Mapping[str, Any]) -> dict[str, Any]:
    """Return a base job template of Kubernetes jobs with what a shop's run needs besides.

    That is a number of GPUs, the environment of a Secret, and a volume that outlives the pod.
    default: Prefect's base job template of the type ``kubernetes``.
    """
    made = copy.deepcopy(dict(default))
    pod = made["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    # Prefect's template has these two in the pod, where the API knows no such fields.
    for name in ("parallelism", "completions"):
        made["job_configuration"]["job_manifest"]["spec"][name] = pod.pop(name, 1)
    container = pod["containers"][0]
    container["resources"]["limits"]["nvidia.com/gpu"] = "{{ gpus }}"
    container["envFrom"] = [{"secretRef": {"name": "{{ secret }}", "optional": True}}]
    container["volumeMounts"] = [{"name": "shop", "mountPath": "{{ folder }}"}]
    pod["volumes"] = [{"name": "shop", "persistentVolumeClaim": {"claimName": "{{ claim }}"}}]
    made["variables"]["properties"] |= {
        "gpus": {"type": "integer", "description": "GPUs of a run that trains."},
        "secret": {
            "type": "string",
            "default": "bowerbird",
            "description": "Secret with the environment: keys of the object store, URLs.",
        },
        "claim": {
            "type": "string",
            "default": "bowerbird",
            "description": "Claim of the volume with clone, DVC's cache and checkpoints.",
        },
        "folder": {
            "type": "string",
            "default": "/shop",
            "description": "Where the volume is mounted.",
        },
    }
    return made


def default_template(kind: str) -> dict[str, Any]:
    """Return Prefect's base job template of a type of work pools.

    Raises:
        DeployError: there is no server, or it knows no such type.
    """
    with _client() as client:
        collections = client.read_worker_metadata()
    for kinds in collections.values():
        if kind in kinds:
            return dict(kinds[kind]["default_base_job_configuration"])
    raise DeployError(f"Prefect's server knows no work pools of type {kind}")
