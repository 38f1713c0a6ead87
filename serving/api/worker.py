"""One worker: the application with the backend and the authentication that its routes use."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fastapi import FastAPI

from components.settings import Settings
from serving.api import jobs
from serving.api.app import create_app
from serving.api.auth import Auth, Keys, load_secret
from serving.api.feedback_validation import FeedbackValidator
from serving.backend import Backend


def create_worker(settings: Settings, root: Path, keys: Keys, *, single_process: bool) -> FastAPI:
    """Return the application of one worker. Its ``state.backend`` has loaded no model yet.

    root: the shop's folder
    single_process: no other worker serves this folder

    Raises:
        SecretError: the folder's secret cannot be read or written.
        StoreError: the event store cannot be opened.
    """
    app = create_app(settings.serve)
    serve = settings.serve
    auth = Auth(keys, load_secret(root), serve.session_hours, serve.max_sessions)
    app.state.auth = auth
    app.state.feedback = FeedbackValidator(settings, auth)
    app.state.backend = Backend(
        settings,
        root,
        auth.impression_id,
        has_api_key=keys.api is not None,
        single_process=single_process,
        roll_back=partial(jobs.roll_back, root),
    )
    return app
