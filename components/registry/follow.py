"""An endpoint's folder follows the champion of a registry that other machines share.

In: MLflow's alias ``champion``, looked at every ``serve.follow_registry`` seconds. Out: the
version's files and then the pointer that the endpoint follows, as a promotion in this folder
writes them; and ``var/serving/registry.json``, which says what is wrong. A version whose files
cannot be copied whole, and a registry that cannot be reached, leave the pointer as it is.

It runs as a process of its own (``python -m components.registry.follow``), because a worker that
answers shoppers never loads MLflow. One such process runs for a folder.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from components.file_lock import lock_descriptor
from components.registry.artifacts import restore_served
from components.registry.promotion import (
    pointer_file,
    promotion_of,
    release_of,
    serve_all,
    write_pointer,
    write_versions,
)
from components.registry.versions import (
    ALIASES,
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Registry,
    RegistryError,
    reachable,
)
from components.registry_state import LOCK, State, write_state
from components.rollout import (
    TAKEN_OVER,
    Promotion,
    Release,
    Rollout,
    following,
    read_rollout,
    rollout_lock,
    write_rollout,
)
from components.settings import Settings, SettingsError, load_settings

RETRY_SECONDS = 60.0
"""Seconds until files that could not be copied whole are copied again."""
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "PGCONNECT_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""MLflow's own would wait for a server that is gone for many minutes, and draw bars in the log."""
logger = logging.getLogger("bowerbird.registry")


class CopyFailed(RegistryError):
    """A version's files could not be copied whole; the message says of which version."""


@dataclass
class Follower:
    """Follows one registry.

        Follower(settings, root).look()

    A look at an unchanged registry reads its aliases and tags alone.
    """

    settings: Settings
    root: Path
    _registry: Registry | None = None
    _champion: tuple[str, Promotion] | None = None
    _challenger: str | None = None
    _failed: dict[str, tuple[float, CopyFailed]] = field(default_factory=dict)

    def look(self) -> str:
        """Take over the champion if it changed; return its version.

        Raises:
            RegistryError: the registry or the version's files cannot be used; CopyFailed: the
                latter. The endpoint's files are as before.
        """
        with reachable():
            if self._registry is None:
                self._registry = Registry(self.settings, self.root)
            registry = self._registry
            champion = registry.alias(CHAMPION)
            if champion is None:
                raise RegistryError(f"no version of {registry.name} is the champion yet")
            with registry.lock():
                self._tell(registry, champion)
                found = (champion, promotion_of(registry, champion))
                in_place = registry.folders.served(champion).is_dir()
                if found != self._champion or not in_place:
                    self._follow_champion(registry, champion)
                    self._champion = found
                # After it: what is wrong with a challenger must not hold a champion up.
                self._follow_challenger(registry)
        return champion

    def _serves_challenger(self) -> bool:
        serve = self.settings.serve
        tested = bool(serve.experiment.name) and serve.experiment.model == "challenger"
        return tested or serve.shadow.share > 0

    def _follow_champion(self, registry: Registry, champion: str) -> None:
        self._copy(registry, champion)
        if not pointer_file(self.root, CHAMPION).exists():
            self._join(registry, champion)
        write_pointer(registry, CHAMPION, champion)
        write_versions(registry)
        kept = {one for one in map(registry.alias, ALIASES) if one is not None}
        with suppress(ValueError):  # a damaged rollout: the endpoint puts it aside first
            registry.folders.prune(kept | {registry.evaluated(one) for one in kept})
        logger.info("version %s is the registry's champion", champion)

    def _follow_challenger(self, registry: Registry) -> None:
        challenger = registry.alias(CHALLENGER) if self._serves_challenger() else None
        if challenger is None:
            pointer_file(self.root, CHALLENGER).unlink(missing_ok=True)
        elif challenger != self._challenger or not registry.folders.served(challenger).is_dir():
            self._copy(registry, challenger)
            write_pointer(registry, CHALLENGER, challenger)
        self._challenger = challenger

    def _copy(self, registry: Registry, version: str) -> None:
        """Copy a version's files, verified, unless that failed a moment ago."""
        tried, error = self._failed.get(version, (0.0, None))
        if error is not None and time.monotonic() - tried < RETRY_SECONDS:
            raise error
        try:
            with reachable():
                restore_served(registry, version)
        except (RegistryError, OSError, ValueError) as wrong:
            text = f"version {version} cannot be copied: {wrong}"
            failed = CopyFailed(text)
            self._failed[version] = (time.monotonic(), failed)
            raise failed from wrong
        self._failed.pop(version, None)

    def _join(self, registry: Registry, champion: str) -> None:
        """Begin in an empty folder as the machines that serve already: in a canary that runs."""
        promotion = promotion_of(registry, champion)
        previous = registry.alias(PREVIOUS)
        if promotion.at is None or promotion.for_all or previous is None:
            return
        self._copy(registry, previous)
        rollout = Rollout(release_of(registry, previous))
        began = promotion.at / 1000
        with rollout_lock(self.root):
            wanted = release_of(registry, champion)
            write_rollout(self.root, following(rollout, wanted, began, promotion))

    def _tell(self, registry: Registry, champion: str) -> None:
        """Tell the registry that the champion's canary took over here, so that all follow."""
        rollout = _rollout(self.root)
        if rollout is None or not rollout.decisions:
            return
        wanted: Release = release_of(registry, champion)
        took_over = rollout.decisions[-1]["result"] == TAKEN_OVER
        if not took_over or rollout.stable.lineage != wanted.lineage:
            return
        promotion = promotion_of(registry, champion)
        if promotion.at is not None and not promotion.for_all:
            serve_all(registry, champion)


def _rollout(root: Path) -> Rollout | None:
    try:
        return read_rollout(root)
    except ValueError:  # the endpoint reports it
        return None


def problem_of(error: RegistryError, since: float) -> str:
    """Return what /readyz says of an error, without paths, hosts or users."""
    if isinstance(error, CopyFailed):
        return "a version's files cannot be copied, the one before is served: see the log"
    moment = datetime.fromtimestamp(since, UTC)
    return f"the registry cannot be read since {moment:%Y-%m-%dT%H:%M:%SZ}: see the log"


def run(root: Path) -> None:
    """Follow the registry until the process is ended, or at once if another process does.

    Raises:
        SettingsError: params.yaml or the environment is wrong.
    """
    settings = load_settings()
    if lock_descriptor(root / LOCK, wait=False) is None:
        return
    follower, state, logged = Follower(settings, root), State(time.time()), ""
    while True:
        problem, text = "", ""
        try:
            follower.look()
        except RegistryError as error:
            text, problem = str(error), problem_of(error, state.since or time.time())
        except OSError as error:  # a full disk
            text = f"{error.filename or root}: {error.strerror}"
            problem = "the champion's files cannot be written: see the log"
        if text and text != logged:
            logger.error("%s", text)
        logged = text
        state = state.after(problem, time.time())
        with suppress(OSError):
            write_state(root, state)
        time.sleep(settings.serve.follow_registry or RETRY_SECONDS)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)  # a copy that is not complete is not in place, and the next process begins it again


if __name__ == "__main__":
    from components.permissions import keep_private

    logging.basicConfig(level=logging.INFO, format="registry: %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    keep_private(Path())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run(Path())
    except SettingsError as error:
        sys.exit(f"error: {error}")
