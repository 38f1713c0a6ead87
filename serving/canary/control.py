"""Starts, watches and ends canaries: one worker at a time decides, all follow the rollout's file.

In: the pointer of the champion and the evidence. Out: ``var/serving/rollout.json``, entries in the
timeline, a message where a canary takes over, an alert where one is rolled back. The file is
written first, so what a kill prevented is done after the restart. The alert is resolved when the
registry's champion is another version.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.alerts import notify, raise_alert, resolve_alerts
from components.file_lock import file_lock
from components.rollout import (
    CANARIES,
    ENDED,
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
from components.timeline import Kind, record
from serving.canary.decision import ROLL_BACK, TAKE_OVER, Decision, Evidence, decide
from serving.canary.evidence import groups
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.exposures import delete_exposures, experiment_names
from serving.health import Health
from serving.models.versions import (
    UNREGISTERED_VERSION,
    find_champion,
    find_promotion,
    find_release,
    release_of,
)

logger = logging.getLogger("bentoml.bowerbird")

LOOK_SECONDS = 10.0
"""Least seconds between two looks at the evidence."""
LOOK_SHARE = 0.05
"""Most of the time that looking may take: after a slow look the next one is later."""
TELL_SECONDS = 300.0
"""Seconds until the registry is sent again that its champion was rolled back."""
LOCK = Path("var/serving/.canary.lock")
BY = "endpoint"
KINDS: dict[str, Kind] = {
    TAKEN_OVER: "canary-taken-over",
    ROLLED_BACK: "canary-rolled-back",
    ENDED: "canary-ended",
}
"""Kind of each result in the timeline."""


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
        self._canary = settings.serve.canary
        self._root = root
        self._database = database
        self._health = health
        self._is_loaded = is_loaded
        self._roll_back = roll_back
        self._told_at = float("-inf")
        self._may_be_open = True  # the alert of a canary that was rolled back

    def step(self) -> None:
        """Follow the pointer, look at the evidence where that is due, and decide."""
        try:
            if self.enabled:
                with file_lock(self._root / LOCK, wait=False) as locked:
                    if locked:
                        self._step()
            else:  # the state would be old when canaries are switched on again
                (self._root / ROLLOUT).unlink(missing_ok=True)
                self._resolve("canaries are switched off")
        except OSError as error:  # the version that serves all goes on
            self._health.report("canary", f"its state cannot be written ({error.strerror})")
        else:
            self._health.report("canary", None)

    def _step(self) -> None:
        with rollout_lock(self._root, wait=False) as locked:
            if not locked:  # a command changes it
                return
            before = self._read()
        try:
            wanted = release_of(self._root, find_champion(self._root))
            promotion = find_promotion(self._root)
        except (FileNotFoundError, ValueError):
            return  # the model store reports it
        rollout = following(self._comparable(before), wanted, time.time(), promotion)
        if rollout.canary is not None and _is_due(rollout):
            rollout = self._looked(rollout)
        if rollout != before:
            if not self._replaced(before, rollout):
                return
            self._forget(before, rollout)
        self._record(rollout)
        if rollout.rejected is not None and rollout.rejected.lineage == wanted.lineage:
            self._may_be_open = True
            self._tell_registry(wanted)
        else:
            self._resolve(f"version {wanted.version} is the champion")

    def _replaced(self, before: Rollout | None, after: Rollout) -> bool:
        """Write the rollout unless a command has changed it since it was read; return whether.

        The lock is held for this alone: looking and sending take long, and an operator who rolls
        back must not wait.
        """
        with rollout_lock(self._root, wait=False) as locked:
            if not locked or self._read() != before:
                return False
            write_rollout(self._root, after)
            return True

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

    def _forget(self, before: Rollout | None, after: Rollout) -> None:
        """Delete the exposures of canaries that ended; the decision keeps the evidence.

        Also those that an error, or a worker that was slow, left of earlier canaries.
        """
        ended = before.canary if before else None
        running = after.canary.name if after.canary else None
        if ended is None or ended.name == running:
            return
        try:
            for name in experiment_names(self._database, CANARIES):
                if name != running:
                    delete_exposures(self._database, name)
        except StoreError as error:
            logger.error("the exposures of %s were not deleted: %s", ended.name, error)

    def _record(self, rollout: Rollout) -> None:
        """Record what is not in the timeline yet, and raise its alert or send its message."""
        canary = rollout.canary
        starts = canary is not None and not canary.recorded
        if not starts and all(one.get("recorded", True) for one in rollout.decisions):
            return
        for one in rollout.decisions:
            if not one.get("recorded", True):
                self._record_decision(one)
        if canary is not None and starts:
            share, stable = self._canary.share, rollout.stable.version
            text = (
                f"version {canary.release.version} serves {100 * share:.0f} % of the shoppers as a "
                f"canary, version {stable} the others"
            )
            facts = {"version": canary.release.version, "against": stable, "share": share}
            logger.info(text)
            record(self._root, "canary-started", text, BY, facts)
            canary = replace(canary, recorded=True)
        decisions = tuple({**one, "recorded": True} for one in rollout.decisions)
        self._replaced(rollout, replace(rollout, canary=canary, decisions=decisions))

    def _record_decision(self, one: dict[str, Any]) -> None:
        version, result = one["version"], one["result"]
        reason = f"the canary of version {version} was {result}: {one['reason']}"
        logger.warning(reason)
        facts = {name: value for name, value in one.items() if name != "recorded"}
        record(self._root, KINDS[result], reason, BY, facts)
        if result == ROLLED_BACK:
            raise_alert(self._root, "canary", {f"version {version}": reason}, BY)
        elif result == TAKEN_OVER:
            notify(self._root, f"version {version} serves all shoppers", reason)

    def _resolve(self, why: str) -> None:
        if self._may_be_open:
            resolve_alerts(self._root, "canary", why, BY)
            self._may_be_open = False

    def _tell_registry(self, champion: Release) -> None:
        if time.monotonic() - self._told_at >= TELL_SECONDS:
            self._told_at = time.monotonic()
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
