"""Versions and aliases in MLflow's model registry.

In: ``register.tracking_uri`` and ``register.model_name``. Out: the versions, newest first, and the
version that each alias names.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import SQLAlchemyError

from components.credentials import mask_credentials
from components.file_lock import file_lock
from components.object_store import failure, scheme_of
from components.registry.folders import SERVING, VersionFolders
from components.registry.moved import follow_moved
from components.settings import Settings, url_of

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
BASELINE = "baseline"
"""The last champion that was chosen by hand or was significantly better than the baseline before;
without this alias it is the champion itself."""
ALIASES = (CHAMPION, CHALLENGER, PREVIOUS, BASELINE)
REFRESHED_FROM = "refreshed_from"
"""Tag of a refreshed version: the registered version whose evaluated model stands for it."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes for a model and for an alias that do not exist."""


class RegistryError(ValueError):
    """There is no such version or no previous champion, or MLflow failed; the message says what to
    do."""


@contextmanager
def reachable() -> Iterator[None]:
    """Convert errors of MLflow, of its database and of its object store into one line.

    Raises:
        RegistryError: MLflow or the object store cannot be reached or refused a request.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = mask_credentials(str(error).strip().splitlines()[0])
        raise RegistryError(
            f"MLflow cannot be used (see register.tracking_uri): {reason:.300}"
        ) from error
    except Exception as error:
        if (scheme := scheme_of(error)) is None:
            raise
        reason = failure(error, f"{scheme}://")
        raise RegistryError(
            f"MLflow's artifacts cannot be used (see register.artifacts): {reason}"
        ) from error


@dataclass(frozen=True)
class Version:
    """One registered version. aliases: of ALIASES. created: UTC. refreshed_from: the version that
    was evaluated, None if it is this one."""

    version: str
    aliases: tuple[str, ...]
    created: datetime
    run_id: str
    data_version: str
    ndcg: float | None
    refreshed_from: str | None = None


class Registry:
    """The shop's versions and aliases in MLflow.

    uri: of MLflow, without a login. client: MLflow's client. folders: of the versions' files.
    """

    def __init__(self, settings: Settings, root: Path) -> None:
        self.settings = settings
        self.root = Path(root)
        self.folders = VersionFolders(self.root)
        self.name = settings.register_.model_name
        artifacts = settings.register_.artifacts
        self.artifacts = url_of(artifacts) or (self.root / artifacts).resolve().as_uri()
        uri = settings.register_.tracking_uri.get_secret_value()
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            file = (self.root / uri.removeprefix(prefix)).resolve()
            uri = f"{prefix}{file}"
            if not file.exists():
                with self.lock():
                    self._make_database(file)
            if not url_of(artifacts) and not Path(artifacts).is_absolute():
                place = (self.root / artifacts).resolve()
                follow_moved(file, place, Path(artifacts), self.name)
        self.uri = uri = _with_driver(_without_login(uri))
        mlflow.set_tracking_uri(uri)
        self.client = MlflowClient(uri)

    def _make_database(self, file: Path) -> None:
        """Let MLflow create its database in another folder, then move it into place: a database
        with incomplete migrations of MLflow can never be opened again."""
        if file.exists():  # another process created it first
            return
        partial = file.parent / ".new" / file.name
        shutil.rmtree(partial.parent, ignore_errors=True)
        partial.parent.mkdir(parents=True)
        SqlAlchemyStore(f"sqlite:///{partial}", self.artifacts).engine.dispose()
        partial.rename(file)
        partial.parent.rmdir()

    def experiment(self) -> str:
        """Return the id of the shop's experiment, created if it does not exist.

        An experiment keeps its place of artifacts, so object storage that is set later has one of
        its own.
        """
        name, found = self.name, self.client.get_experiment_by_name(self.name)
        stored = not self.artifacts.startswith("file:")
        if found is not None and stored and found.artifact_location != self.artifacts:
            name = f"{self.name} ({self.artifacts})"
            found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(name, self.artifacts))

    def alias(self, alias: str) -> str | None:
        """Return the version that an alias names, or None."""
        try:
            return str(self.client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if error.error_code in ABSENT:
                return None
            raise  # without a response it is unknown whether there is a champion

    def set_alias(self, alias: str, version: str) -> None:
        """Set ``alias`` to ``version``."""
        self.client.set_registered_model_alias(self.name, alias, version)

    def delete_alias(self, alias: str) -> None:
        """Remove ``alias``, if there is one."""
        if self.alias(alias) is not None:
            self.client.delete_registered_model_alias(self.name, alias)

    def find(self, digest: str) -> str | None:
        """Return the version whose model folder has this digest, or None."""
        for found in self._all():
            if found.tags.get("digest") == digest:
                return str(found.version)
        return None

    def get(self, version: str) -> Version:
        """Return one version.

        Raises:
            RegistryError: there is none of this number.
        """
        known = self.versions()
        for one in known:
            if one.version == version:
                return one
        there = ", ".join(one.version for one in known) or "none yet: run `make run`"
        raise RegistryError(f"there is no version {version}; there are: {there}")

    def tags(self, version: str) -> dict[str, str]:
        """Return the tags of a version."""
        return dict(self.client.get_model_version(self.name, version).tags)

    def evaluated(self, version: str) -> str:
        """Return the version whose evaluated model stands for ``version``: of a refreshed version
        the one that it was refreshed from, else itself."""
        return self.tags(version).get(REFRESHED_FROM, version)

    def versions(self) -> list[Version]:
        """Return all versions, newest first."""
        aliases = {name: self.alias(name) for name in ALIASES}
        return [
            Version(
                str(found.version),
                tuple(name for name, version in aliases.items() if version == str(found.version)),
                datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
                found.run_id or "",
                found.tags.get("data_version", ""),
                float(found.tags["ndcg_at_10"]) if "ndcg_at_10" in found.tags else None,
                found.tags.get(REFRESHED_FROM),
            )
            for found in self._all()
        ]

    def _all(self) -> list[ModelVersion]:
        found = self.client.search_model_versions(f'name = "{self.name}"')  # it holds no "
        return sorted(found, key=lambda version: -int(version.version))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the registry: two processes must not change the champion at the same time."""
        with file_lock(self.root / SERVING / ".lock"):
            yield


def _with_driver(uri: str) -> str:
    """Return the URI of a database with the driver that is installed, psycopg 3."""
    scheme, _, rest = uri.partition("://")
    return f"postgresql+psycopg://{rest}" if scheme in ("postgresql", "postgres") else uri


def _without_login(uri: str) -> str:
    """Return the URI of an MLflow server without user and password.

    MLflow prints the URI after each run and in its errors, so it gets them from the environment.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username or "")
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password or "")
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
