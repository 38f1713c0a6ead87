"""One Prefect task per stage of ``dvc.yaml``: DVC defines the DAG, the tasks only run it.

In: ``dvc.yaml``, read by DVC. Out: what ``dvc repro --single-item <stage>`` writes, its log in the
task's log and its progress as a progress artifact.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO

from dvc.exceptions import NotDvcRepoError
from dvc.repo import Repo
from dvc.stage import PipelineStage
from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.concurrency.sync import concurrency

from components.credentials import mask_credentials
from components.file_lock import file_lock
from components.settings import Settings, load_settings
from flows.repair import remove_damaged

PERCENT = re.compile(r": (\d{1,3}) %, ")
"""Matches the percentage in a line of ``components.progress``."""

LAST_LINES = 25


class StageFailed(RuntimeError):
    """A command failed; the message contains the last lines of its output."""


def stages(root: Path = Path()) -> dict[str, bool]:
    """Return the stages below ``root``, each after those whose outputs it reads.

    The value is False for a stage that is up to date and so are all that it depends on. A matrix is
    one stage here, as it stands in ``dvc.yaml``. Run those of ``always_run`` before.

    Raises:
        FileNotFoundError: there is no DVC repository: not run in the project's folder.
    """
    with _repository(root) as repo:
        # An edge goes from a stage to one that it depends on. Leaves are imported data.
        graph = {
            stage: [needed for needed in needs if isinstance(needed, PipelineStage)]
            for stage, needs in repo.index.graph.adjacency()
            if isinstance(stage, PipelineStage)
        }
        changed = {name for name, why in repo.status().items() if why != ["always changed"]}
    stale: set[PipelineStage] = set()
    groups: dict[str, set[str]] = {}
    for stage in TopologicalSorter(graph).static_order():
        if stage.addressing in changed or not stale.isdisjoint(graph[stage]):
            stale.add(stage)
        groups.setdefault(_group(stage), set()).update(map(_group, graph[stage]))
    for name, needed in groups.items():
        needed.discard(name)
    to_run = set(map(_group, stale))
    return {name: name in to_run for name in TopologicalSorter(groups).static_order()}


def always_run(root: Path = Path()) -> list[str]:
    """Return the stages below ``root`` that look at what DVC does not track; they run each time."""
    with _repository(root) as repo:
        return [stage.name for stage in repo.index.stages if stage.always_changed]


@contextmanager
def _repository(root: Path) -> Iterator[Repo]:
    """Open the DVC repository in ``root``.

    Raises:
        FileNotFoundError: there is none: not run in the project's folder.
    """
    try:
        with Repo(str(root)) as repo:
            yield repo
    except NotDvcRepoError as error:
        raise FileNotFoundError(
            f"there is no DVC repository in {root.resolve()}: run in the project's folder"
        ) from error


def _group(stage: PipelineStage) -> str:
    """Return the stage's name in ``dvc.yaml``: ``fit`` of ``fit@validation-ease``."""
    return stage.name.partition("@")[0]


def pieces(stream: IO[bytes]) -> Iterator[str]:
    """Yield the output of a command, split at line ends and carriage returns."""
    rest = b""
    while part := stream.read1(65536):  # type: ignore[attr-defined]
        *whole, rest = re.split(rb"[\r\n]", rest + part)
        yield from (piece.decode(errors="replace").rstrip() for piece in whole if piece.strip())
    if rest.strip():
        yield rest.decode(errors="replace").rstrip()


def run_command(command: list[str], name: str) -> None:
    """Run a command with its output in the run's log and its progress in an artifact.

    Raises:
        StageFailed: its exit code was not 0.
    """
    log = get_run_logger()
    bar = None
    last: list[str] = []
    # Stages are commands of this environment, even if it is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": path},
    ) as process:
        assert process.stdout is not None
        for piece in map(mask_credentials, pieces(process.stdout)):
            log.info(piece)
            last = [*last, piece][-LAST_LINES:]
            found = PERCENT.search(piece)
            if found is None:
                continue
            percent = min(float(found.group(1)), 100.0)
            if bar is None:
                bar = create_progress_artifact(percent, description=name)
            else:
                update_progress_artifact(bar, percent)
    if process.returncode:
        raise StageFailed(f"{name} ended with code {process.returncode}:\n" + "\n".join(last))


@task(task_run_name="{stage}")
def run_stage(stage: str, stale: bool, commit: bool = True) -> float:
    """Bring one stage of ``dvc.yaml`` up to date if it is ``stale``; return the seconds taken.

    commit: copy its outputs into DVC's cache.
    """
    if not stale:
        get_run_logger().info("%s is up to date", stage)
        return 0.0
    began = time.perf_counter()
    options = ["--single-item"] if commit else ["--single-item", "--no-commit"]
    if load_settings().flows.remote:
        options.append("--pull")  # what another machine made, as the run cache has it
    run_command([sys.executable, "-m", "dvc", "repro", *options, stage], stage)
    return round(time.perf_counter() - began, 1)


def run_stages(wanted: Collection[str] | None = None, commit: bool = True) -> dict[str, float]:
    """Bring the stages up to date, each after those whose outputs it reads; return the seconds of
    each. wanted: their names; None: all. commit: as in ``run_stage``."""
    settings = load_settings().flows
    run = run_stage.with_options(
        retries=settings.retries, retry_delay_seconds=settings.retry_delay_seconds
    )
    remove_damaged()
    seconds = {stage: run(stage, True, commit) for stage in always_run()}
    for stage, stale in stages().items():
        if stage not in seconds and (wanted is None or stage in wanted):
            seconds[stage] = run(stage, stale, commit)
    return seconds


def limit_name(settings: Settings) -> str:
    """Return the name of Prefect's concurrency limit of one training or refresh at a time."""
    return f"bowerbird.{settings.register_.model_name}.training"


@contextmanager
def only_one(file: Path = Path("var/flows/training.lock")) -> Iterator[None]:
    """Lock this folder for a training or a refresh: wait for a running one, and block others.

    With ``flows.remote``, those of other folders and machines too, by Prefect's server.
    """
    settings = load_settings()
    with ExitStack() as held:
        if settings.flows.remote:
            # A slot of a run that was killed is free again when its lease ends, after 5 minutes.
            held.enter_context(concurrency(limit_name(settings)))
        if not held.enter_context(file_lock(file, wait=False)):
            get_run_logger().info("another run is training or refreshing here: waiting for it")
            held.enter_context(file_lock(file))
        yield
