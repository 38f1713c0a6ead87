"""Runs a command of the operator as a job, for the routes that change something."""

from __future__ import annotations

import logging
import subprocess
import threading

from fastapi import Request, Response

from serving.api import jobs
from serving.api.middleware import Refused
from serving.api.pools import OPERATION
from serving.api.routing import OPERATOR_ERRORS, auth_of, backend_of
from serving.api.schemas import ErrorResponse, Job
from serving.backend import Backend

logger = logging.getLogger("bentoml.bowerbird")

REGISTRY_ERRORS = {
    409: {"model": ErrorResponse, "description": "another job runs, or no registry here"},
    **OPERATOR_ERRORS,
}


async def run_command(request: Request, response: Response, *command: str) -> Job:
    """Start ``bowerbird COMMAND`` for a caller with the operator key and return the job.

    Raises:
        Refused: the caller may not, another job runs, or there is no registry here.
    """
    auth_of(request).check_operator(request)
    backend = backend_of(request)
    if not jobs.has_registry(backend.root):
        raise Refused(409, "there is no registry here: deploy the image of the wanted version")
    try:
        job, process = await OPERATION.run(jobs.start, backend.root, *command)
    except jobs.Busy as error:
        raise Refused(409, str(error)) from error
    threading.Thread(target=_follow, args=(backend, process), name="job", daemon=True).start()
    response.headers["location"] = f"/operator/jobs/{job['id']}"
    return Job.model_validate(job)


def _follow(backend: Backend, process: subprocess.Popen[bytes]) -> None:
    """Load a new champion as soon as the job is done; other workers look each second."""
    process.wait()
    look(backend)


def look(backend: Backend) -> None:
    """Load what changed; the backend tries again each second."""
    try:
        backend.follow()
    except Exception as error:
        logger.exception("refreshing the models failed: %s", type(error).__name__)
