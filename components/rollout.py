"""Which version the endpoint serves to all shoppers, and which one is in its canary.

In: the pointer of the champion and decisions of the endpoint or the operator. Out:
``var/serving/rollout.json``, durable and replaced atomically. The registry's commands and the
endpoint's workers change it under one lock; every worker follows it.

A *canary* is a promoted version that serves a share of the shoppers until it takes over or is
rolled back (``serving.canary``). Versions of one *lineage* are refreshed forms of one trained
version: a refresh replaces the version that it was made from, wherever that one is served.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.file_lock import file_lock
from components.json_files import write_json

ROLLOUT = Path("var/serving/rollout.json")
LOCK = Path("var/serving/.rollout.lock")
INTERNAL = "~"
"""Begins the names under which canaries and holdouts are recorded, and no A/B test's name."""
CANARIES = f"{INTERNAL}canary"
KEPT = 20
"""Decisions that are kept."""

TAKEN_OVER, ROLLED_BACK, ENDED = "taken over", "rolled back", "ended"


@dataclass(frozen=True)
class Release:
    """A version with its folder below the root. lineage: the trained version it goes back to."""

    version: str
    folder: str
    lineage: str


@dataclass(frozen=True)
class Promotion:
    """What the registry says of the champion's promotion, the same on each machine that follows it.

    at: milliseconds since 1970 of the promotion, None: it is not known. for_all: it serves all
    shoppers, because it was promoted so or because its canary took over on some machine.
    """

    at: int | None = None
    for_all: bool = False


@dataclass(frozen=True)
class Canary:
    """A version that serves a share of the shoppers. started: seconds since 1970.

    name: of its exposures in the event store; a refreshed version keeps it. recorded: its start is
    in the timeline.
    """

    release: Release
    name: str
    started: float
    recorded: bool = False


@dataclass(frozen=True)
class Rollout:
    """stable: serves all shoppers, during a canary those outside it.

    rejected: the version that was rolled back last; its lineage is not served while the pointer
    still names it. evidence: what the canary showed at the last look, and when. decisions: the
    newest ones, the newest last; each has version, against, result (TAKEN_OVER, ROLLED_BACK,
    ENDED), reason, started, decided, evidence, and whether it is recorded in the timeline.
    """

    stable: Release
    canary: Canary | None = None
    rejected: Release | None = None
    evidence: dict[str, Any] | None = None
    decisions: tuple[dict[str, Any], ...] = ()

    @property
    def versions(self) -> set[str]:
        """The versions whose files must stay."""
        found = {self.stable.version}
        return found | {self.canary.release.version} if self.canary else found

    @property
    def tried(self) -> set[str]:
        """The lineage that serves in a canary, or did until it was rolled back."""
        release = self.canary.release if self.canary else self.rejected
        return {release.lineage} if release else set()

    def serving_all(self, release: Release) -> Rollout:
        """Return the rollout where all shoppers are served ``release`` and nothing is rejected."""
        return replace(self, stable=release, canary=None, rejected=None, evidence=None)

    def decided(self, result: str, reason: str, now: float) -> Rollout:
        """Return the rollout with the decision on its canary, which still runs, noted."""
        assert self.canary is not None
        decision = {
            "version": self.canary.release.version,
            "against": self.stable.version,
            "result": result,
            "reason": reason,
            "started": self.canary.started,
            "decided": now,
            "evidence": self.evidence,
            "recorded": False,
        }
        return replace(self, decisions=(*self.decisions, decision)[-KEPT:])


def following(
    rollout: Rollout | None, wanted: Release, now: float, promotion: Promotion = Promotion()
) -> Rollout:
    """Return the rollout that follows a pointer.

    rollout: the one before, None if there is none: ``wanted`` is then served to all at once, since
    there is nothing that it could be compared with. A refreshed version replaces the one of its
    lineage. Any other version starts a canary, and ends one that runs, unless its promotion is for
    all shoppers. The canary has the same name on all machines that know when it was promoted, so
    they draw the same shoppers and share the evidence.
    """
    if rollout is None:
        return Rollout(wanted)
    stable, canary = rollout.stable, rollout.canary
    if wanted.lineage == stable.lineage:
        if canary is not None:
            rollout = rollout.decided(ENDED, "another version was made the champion", now)
        return rollout.serving_all(wanted)
    if promotion.for_all:
        if canary is not None:
            why = f"version {wanted.version} serves all by the registry"
            rollout = rollout.decided(ENDED, why, now)
        return rollout.serving_all(wanted)
    if canary is not None and wanted.lineage == canary.release.lineage:
        return replace(rollout, canary=replace(canary, release=wanted))
    if rollout.rejected is not None and wanted.lineage == rollout.rejected.lineage:
        return rollout
    if canary is not None:
        rollout = rollout.decided(ENDED, f"version {wanted.version} was promoted", now)
    moment = int(1000 * now) if promotion.at is None else promotion.at
    name = f"{CANARIES} {wanted.lineage:.40} {moment}"
    return replace(rollout, canary=Canary(wanted, name, now), rejected=None, evidence=None)


def read_rollout(root: Path) -> Rollout | None:
    """Return the rollout, None where the endpoint has not written one.

    Raises:
        ValueError: the file is damaged; the message says what to do.
    """
    try:
        found = json.loads((root / ROLLOUT).read_text(encoding="utf-8"))
        canary = found["canary"]
        return Rollout(
            Release(**found["stable"]),
            canary and Canary(Release(**canary.pop("release")), **canary),
            found["rejected"] and Release(**found["rejected"]),
            found["evidence"],
            tuple(found["decisions"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{ROLLOUT} is damaged ({type(error).__name__}): remove it, and the champion is served "
            "to all"
        ) from error


def write_rollout(root: Path, rollout: Rollout) -> None:
    """Write the rollout, durably and atomically. The caller holds the lock."""
    write_json(root / ROLLOUT, asdict(rollout))


@contextmanager
def rollout_lock(root: Path, wait: bool = True) -> Iterator[bool]:
    """Lock the rollout; yield whether it is locked, which is certain if ``wait``."""
    with file_lock(root / LOCK, wait) as locked:
        yield locked
