"""Starts, watches and ends canaries: one worker at a time decides, all follow the rollout's file.

In: the pointer of the champion and the evidence. Out: ``var/serving/rollout.json`` and an alert for
each decision. The file is written before the alert, so an alert that a kill prevented is raised
after the restart.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.alerts import ALERTS, raise_once
from components.rollout import (
    ROLLED_BACK,
    ROLLOUT,
    TAKEN_OVER,
    Release,
    Rollout,
    following,
    read_rollout,
    rollout_lock,
    write_rollout,
)
from components.settings import Settings
from serving.canary.decision import ROLL_BACK, TAKE_OVER, Decision, Evidence, decide
from serving.canary.evidence import groups
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.exposures import delete_exposures
from serving.health import Health
from serving.models.versions import UNREGISTERED_VERSION, find_champion, find_release, release_of

logger = logging.getLogger("bentoml.bowerbird")

LOOK_SECONDS = 10.0
"""Least seconds between two looks at the evidence."""
LOOK_SHARE = 0.05
"""Most of the time that looking may take: after a slow look the next one is later."""
ASK_SECONDS = 300.0
"""Seconds until the registry is told again that its champion was rolled back."""


class CanaryControl:
    """Decides on canaries; ``step`` is called every second by every worker.

    has_api_key: without one no shopper is authenticated, so none could count, and a promoted
    version serves all at once. is_loaded: whether this worker has the version in memory.
    roll_back: tells the registry, in the background, that its champion was rolled back.
    """

    def __init__(
        self,
        settings: Settings,
        root: Path,
        database: Database,
        health: Health,
        has_api_key: bool,
        is_loaded: Callable[[Release], bool],
        roll_back: Callable[[str], None],
    ) -> None:
        self.enabled = has_api_key and settings.serve.canary.share > 0
        self._switched_off = has_api_key and not self.enabled
        self._canary = settings.serve.canary
        self._webhook = settings.monitor.webhook
        self._root = root
        self._database = database
        self._health = health
        self._is_loaded = is_loaded
        self._roll_back = roll_back
        self._asked_at = float("-inf")

    def step(self) -> None:
        """Follow the pointer, look at the evidence where that is due, and decide."""
        if self._switched_off:  # the state would be old when canaries are switched on again
            (self._root / ROLLOUT).unlink(missing_ok=True)
        if not self.enabled:
            return
        try:
            with rollout_lock(self._root, wait=False) as locked:
                if locked:
                    self._step()
        except OSError as error:  # the version that serves all goes on
            self._health.report("canary", f"its state cannot be written ({error.strerror})")
        else:
            self._health.report("canary", None)

    def _step(self) -> None:
        before = self._read()
        try:
            wanted = release_of(self._root, find_champion(self._root))
        except (FileNotFoundError, ValueError):
            return  # the model store reports it
        rollout = following(self._comparable(before), wanted, time.time())
        if rollout.canary is not None and _is_due(rollout):
            rollout = self._looked(rollout)
        if rollout != before:
            write_rollout(self._root, rollout)
            self._log(before, rollout)
            self._forget(before, rollout)
        if not all(one["alerted"] for one in rollout.decisions):
            self._alert(rollout)
        if rollout.rejected is not None and rollout.rejected.lineage == wanted.lineage:
            self._tell_registry(wanted)

    def _read(self) -> Rollout | None:
        try:
            return read_rollout(self._root)
        except ValueError as error:
            (self._root / ROLLOUT).replace(self._root / f"{ROLLOUT}.damaged")
            logger.error("%s; it was moved to %s.damaged", error, ROLLOUT.name)
            return None

    def _comparable(self, rollout: Rollout | None) -> Rollout | None:
        """Return the rollout, None where nothing is served that a champion could be compared with.

        An unregistered model was never compared with anything; a folder that is gone serves nobody.
        """
        if rollout is None or rollout.stable.version == UNREGISTERED_VERSION:
            return None
        return rollout if find_release(self._root, rollout.stable) else None

    def _looked(self, rollout: Rollout) -> Rollout:
        """Return the rollout with new evidence, and what follows from it."""
        assert rollout.canary is not None
        began = time.time()
        try:
            control, canary = groups(self._database, rollout.canary.name, self._canary)
        except StoreError:
            return rollout  # unreachable: without evidence nothing is decided
        now = time.time()
        hours = max(now - rollout.canary.started, 0.0) / 3600
        release = rollout.canary.release
        evidence = Evidence(hours, control, canary, self._is_loaded(release))
        decision = decide(evidence, self._canary)
        looked = {"at": now, "took": abs(now - began), "state": decision.reason}
        facts = {**evidence.facts(self._canary), **looked}
        return _applied(replace(rollout, evidence=facts), decision, now)

    def _log(self, before: Rollout | None, after: Rollout) -> None:
        if after.canary is not None and (before is None or before.canary != after.canary):
            logger.info(
                "version %s serves %.0f %% of the shoppers as a canary, version %s the others",
                *(after.canary.release.version, 100 * self._canary.share, after.stable.version),
            )

    def _forget(self, before: Rollout | None, after: Rollout) -> None:
        """Delete the exposures of a canary that ended; the decision keeps the evidence."""
        ended = before.canary if before else None
        if ended is None or (after.canary is not None and after.canary.name == ended.name):
            return
        try:
            delete_exposures(self._database, ended.name)
        except StoreError as error:
            logger.error("the exposures of %s were not deleted: %s", ended.name, error)

    def _alert(self, rollout: Rollout) -> None:
        for one in rollout.decisions:
            if not one["alerted"]:
                reason = (
                    f"the canary of version {one['version']} was {one['result']}: {one['reason']}"
                )
                logger.warning(reason)
                alert = {"kind": "canary", "version": one["version"], "reasons": [reason]}
                raise_once(alert, self._root / ALERTS, self._webhook)
        decisions = tuple({**one, "alerted": True} for one in rollout.decisions)
        write_rollout(self._root, replace(rollout, decisions=decisions))

    def _tell_registry(self, champion: Release) -> None:
        if time.monotonic() - self._asked_at >= ASK_SECONDS:
            self._asked_at = time.monotonic()
            self._roll_back(champion.version)


def _is_due(rollout: Rollout) -> bool:
    """Return whether the evidence, which all workers share, is to be looked at again."""
    if rollout.evidence is None:
        return True
    pause = max(LOOK_SECONDS, rollout.evidence["took"] / LOOK_SHARE)
    return abs(time.time() - rollout.evidence["at"]) >= pause


def _applied(rollout: Rollout, decision: Decision, now: float) -> Rollout:
    """Return the rollout after a decision on its canary."""
    assert rollout.canary is not None
    if decision.action == TAKE_OVER:
        done = rollout.decided(TAKEN_OVER, decision.reason, now)
        return done.serving_all(rollout.canary.release)
    if decision.action == ROLL_BACK:
        done = rollout.decided(ROLLED_BACK, decision.reason, now)
        return replace(done, canary=None, rejected=rollout.canary.release, evidence=None)
    return rollout
