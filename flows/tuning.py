"""The flow ``tuning``: several processes share one search of a model's hyper-parameters.

In: as ``components.recommenders.tuning``, with ``search.storage`` on PostgreSQL. Out: the report in
``var/search/<model>``. Each worker is a process of its own, started again if it dies; further runs
of the flow, also on other machines with the same data, work on the same search.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.futures import wait
from prefect.task_runners import ThreadPoolTaskRunner

from components.settings import load_settings
from flows.clone import in_use
from flows.operations import ended
from flows.remote import pull
from flows.stages import only_one, run_command

MOST_WORKERS = 64


@task(task_run_name="worker {worker}")
def search(model: str, study: str, trials: int, deadline: float | None, worker: int) -> None:
    """Work on a study until it has ``trials`` finished ones or the deadline passed.

    deadline: seconds since 1970, the same for a worker that is started again.
    """
    command = ["tune", model, "--trials", str(trials), "--worker", str(worker), "--study", study]
    if deadline is not None:
        left = deadline - time.time()
        if left <= 0:
            return
        command += ["--timeout", str(left)]
    run_command([sys.executable, "-m", "bowerbird", *command], f"worker {worker}")


@flow(
    name="tuning",
    log_prints=True,
    task_runner=ThreadPoolTaskRunner(max_workers=MOST_WORKERS),
    on_completion=[ended],
    on_failure=[ended],
)
def tuning(
    model: str, trials: int = 30, workers: int = 2, timeout: float | None = None
) -> dict[str, Any]:
    """Search a model's hyper-parameters with ``workers`` processes; return the best values.

    trials: finished ones, those of earlier runs included. timeout: seconds after which no new trial
    starts.

    Raises:
        ValueError: the storage is a file, or the model has nothing to search.
        StageFailed: workers failed, and the search has not as many trials.
    """
    # They take seconds to import: not for the other flows.
    from components.recommenders.tuning import (
        REPORTS,
        check_shareable,
        fail_dead_trials,
        n_finished,
        open_study,
        write_report,
    )

    settings, root = load_settings(), Path()
    check_shareable(model, settings)
    if not 1 <= workers <= MOST_WORKERS:
        raise ValueError(f"workers: {workers} is not between 1 and {MOST_WORKERS}")
    with in_use():
        if settings.flows.remote:
            with only_one():
                pull(root, force=True)
        # Before the workers, which would all make the tables and the first trial.
        study = open_study(model, settings, root)
        deadline = None if timeout is None else time.time() + timeout
        retried = search.with_options(
            retries=settings.flows.retries,
            retry_delay_seconds=settings.flows.retry_delay_seconds,
        )
        # Other runs have other samplers.
        first = 1 + UUID(runtime.flow_run.id).int % 1_000_000
        futures = [
            retried.submit(model, study.study_name, trials, deadline, first + number)
            for number in range(workers)
        ]
        wait(futures)
        fail_dead_trials(study)
        write_report(study, model, root / REPORTS / model)
        failed = [one for one in futures if not one.state.is_completed()]
        if failed and n_finished(study) < trials:
            failed[0].result()  # raises what the worker raised
        if failed:
            get_run_logger().warning("%s of %s workers failed", len(failed), workers)
    values = ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in study.best_params.items()
    )
    create_markdown_artifact(
        f"# {model}\n\nNDCG@10 on validation {study.best_value:.4f}: {values}.\n\n"
        f"{n_finished(study)} trials; `{REPORTS / model}` has the report.",
        key="tuning",
    )
    return dict(study.best_params)
