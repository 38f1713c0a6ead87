"""What a canary's shoppers did: outcomes from the event store, failures and seconds of all workers.

In: the canary's name. Out: a ``Group`` for each arm. Exposures and events survive a restart of the
endpoint; the counts of lists begin again, which only delays a decision.
"""

from __future__ import annotations

from components.settings import Canary
from serving import metrics
from serving.arms import CONTROL, TREATMENT
from serving.canary.decision import Group, Lists, seconds_of
from serving.events.database import Database
from serving.events.exposures import arm_outcomes


def groups(database: Database, name: str, settings: Canary) -> tuple[Group, Group]:
    """Return the shoppers outside the canary ``name`` and those in it.

    Raises:
        StoreError: the database failed.
    """
    outcomes = {
        one.arm: one
        for one in arm_outcomes(database, name, settings.outcome, settings.window_hours, None)
    }
    lists = lists_of(name)
    found = []
    for arm in (CONTROL, TREATMENT):
        users, converted = 0, 0
        if arm in outcomes:
            users, converted = outcomes[arm].users, outcomes[arm].converted
        found.append(Group(users, converted, lists[arm]))
    return found[0], found[1]


def lists_of(name: str) -> dict[str, Lists]:
    """Return the lists of each arm of a canary, of all workers of this endpoint."""
    counts: dict[tuple[str, str], float] = {}
    seconds: dict[str, dict[float, float]] = {CONTROL: {}, TREATMENT: {}}
    for metric in metrics.collected():
        for sample in metric.samples if metric.name.startswith("bowerbird_canary") else ():
            labels = sample.labels
            if labels["canary"] != name:
                continue
            if sample.name == "bowerbird_canary_lists_total":
                counts[labels["arm"], labels["result"]] = sample.value
            elif sample.name == "bowerbird_canary_list_seconds_bucket":
                seconds[labels["arm"]][float(labels["le"])] = sample.value
    found = {}
    for arm, buckets in seconds.items():
        failed = int(counts.get((arm, "failed"), 0))
        made = failed + int(counts.get((arm, "made"), 0))
        found[arm] = Lists(made, failed, seconds_of(buckets))
    return found
