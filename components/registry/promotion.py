"""Promotion, comparison of a new version with the champion, and rollback.

In: a version of the registry. Out: moved aliases, and the files that the endpoint follows:
``var/serving/{champion,challenger,versions}.json``; an entry in the timeline for each decision.

A chain of versions, each a little worse than the one before, could lose much more than
``register.margin`` (*biocreep*: D'Agostino, Massaro and Sullivan, Statistics in Medicine 2003). So
a challenger is compared with the *baseline*, too: the last champion that was chosen by hand or was
significantly better than the baseline before it. It must be good enough against both.

A refreshed version (see ``registry.refresh``) has seen the newest events, so it is never compared:
the version that it was refreshed from stands for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from components.alerts import raise_alert
from components.data.dataset import Prepared
from components.evaluation.compare import Comparison, compare
from components.evaluation.exposure import profiles_of, unexplained_gains
from components.evaluation.promotion_hold import (
    hold_promotions,
    read_promotion_hold,
    write_suspects,
)
from components.json_files import write_json
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry.artifacts import delete_version, restore_evaluated, restore_served
from components.registry.folders import MODELS, SERVING
from components.registry.versions import (
    BASELINE,
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    Registry,
    RegistryError,
)
from components.rollout import (
    ENDED,
    Promotion,
    Release,
    Rollout,
    read_rollout,
    rollout_lock,
    write_rollout,
)
from components.timeline import record

BASELINE_BEFORE = "baseline_before"
"""Tag of a promoted version: the baseline until then, "" for none."""
PROMOTED = "promoted_at"
"""Tag of a champion's evaluated version: milliseconds since 1970 of its last promotion."""
FOR_ALL = "for_all"
"""Tag of it: the PROMOTED of the promotion that serves all shoppers, without a canary."""
OPERATOR, TRAINING, ENDPOINT = "operator", "training", "endpoint"
"""Who decided, for the timeline."""


def promote(registry: Registry, version: str, now: bool = False) -> None:
    """Make ``version`` the champion and the baseline; the current champion becomes ``previous``.

    now: the endpoint serves it to all shoppers at once, without a canary.

    Raises:
        RegistryError: there is no such version.
    """
    with registry.lock(), rollout_lock(registry.root):
        before = registry.alias(CHAMPION)
        registry.get(version)
        if before != version:
            _note_baseline(registry, version)
        _promote(registry, version, for_all=now)
        registry.delete_alias(BASELINE)
        write_pointers(registry)
        _roll_out(registry, version, now)
        how = ", at once for all shoppers" if now else ""
        text = f"version {version} was promoted by hand{how}"
        facts = {"version": version, "before": before, "now": now}
        record(registry.root, "promotion", text, OPERATOR, facts)


def _promote(
    registry: Registry, version: str, remember: bool = True, for_all: bool = False
) -> None:
    """As ``promote``, for a caller that holds the lock.

    remember: a rollback may return to the current champion. for_all: no machine begins a canary.
    """
    registry.get(version)
    restore_served(registry, version)
    if not registry.folders.profiles(version).exists():
        registry.folders.place_profiles(version)
    before = registry.alias(CHAMPION)
    if remember and before is not None and before != version:
        registry.set_alias(PREVIOUS, before)
    if before != version:
        moment = str(time.time_ns() // 1_000_000)
        _tag(registry, registry.evaluated(version), PROMOTED, moment)
    if for_all or before is None:
        serve_all(registry, version)
    registry.set_alias(CHAMPION, version)
    for alias in (CHALLENGER, BASELINE):
        if registry.alias(alias) == version:
            registry.delete_alias(alias)
    write_pointers(registry)


def _tag(registry: Registry, version: str, name: str, value: str) -> None:
    registry.client.set_model_version_tag(registry.name, version, name, value)


def serve_all(registry: Registry, version: str) -> None:
    """Note in the registry that the newest promotion of ``version`` serves all shoppers.

    Other machines that follow the registry then serve it to all, without a canary of their own.
    """
    evaluated = registry.evaluated(version)
    if (moment := registry.tags(evaluated).get(PROMOTED)) is not None:
        _tag(registry, evaluated, FOR_ALL, moment)


def promotion_of(registry: Registry, version: str) -> Promotion:
    """Return what the registry says of the newest promotion of ``version``."""
    tags = registry.tags(registry.evaluated(version))
    moment = tags.get(PROMOTED)
    if moment is None or not moment.isdecimal():
        return Promotion()  # promoted by an earlier release of Bowerbird
    return Promotion(int(moment), tags.get(FOR_ALL) == moment)


def _note_baseline(registry: Registry, version: str) -> None:
    """Note on ``version`` the baseline that its promotion replaces, for a rollback."""
    baseline = registry.alias(BASELINE) or ""
    registry.client.set_model_version_tag(registry.name, version, BASELINE_BEFORE, baseline)


def _restore_baseline(registry: Registry, rolled_back: str) -> None:
    """Make the baseline from before the promotion of ``rolled_back`` the baseline again.

    Without it, small losses of many promotions would add up unseen.
    """
    baseline = registry.tags(rolled_back).get(BASELINE_BEFORE)
    if baseline is None:
        return
    if baseline in {one.version for one in registry.versions()}:
        registry.set_alias(BASELINE, baseline)
    else:
        registry.delete_alias(BASELINE)


def release_of(registry: Registry, version: str) -> Release:
    """Return a version as a rollout names it."""
    return Release(version, str(MODELS / version), registry.evaluated(version))


def _rollout(registry: Registry) -> Rollout | None:
    try:
        return read_rollout(registry.root)
    except ValueError as error:
        raise RegistryError(str(error)) from error


def _roll_out(registry: Registry, version: str, now: bool) -> None:
    """Let a version that was rolled back have another canary, or serve ``version`` to all now."""
    rollout = _rollout(registry)
    if rollout is None:  # the endpoint serves the champion to all when it starts
        return
    if now:
        if rollout.canary is not None:
            rollout = rollout.decided(ENDED, f"version {version} is served to all", time.time())
        rollout = rollout.serving_all(release_of(registry, version))
    write_rollout(registry.root, replace(rollout, rejected=None))


def rollback(registry: Registry, of: str | None = None) -> str:
    """Make the previous champion the champion again, at once for all shoppers; return its version.

    A champion that is in its canary, or was rolled back in it, was never served to all: the version
    that is served to all becomes the champion again. of: do nothing if the champion is another.

    Raises:
        RegistryError: there is none, or it is not known.
    """
    with registry.lock(), rollout_lock(registry.root):
        version, champion = registry.alias(PREVIOUS), registry.alias(CHAMPION)
        if of is not None and champion != of:
            write_pointers(registry)  # an earlier command may have been killed before it did
            return str(champion)
        rollout = _rollout(registry)
        if champion and rollout and registry.evaluated(champion) in rollout.tried:
            registry.delete_alias(PREVIOUS)  # the next rollback must not return to ``champion``
            _promote(registry, rollout.stable.version, remember=False, for_all=True)
            _restore_baseline(registry, registry.evaluated(champion))
            reason = rollout.decisions[-1]["reason"] if rollout.rejected else "by the operator"
            tag = "rolled_back"
            registry.client.set_model_version_tag(registry.name, champion, tag, reason)
            write_pointers(registry)
            _record_rollback(registry, champion, rollout.stable.version, reason, of)
            return rollout.stable.version
        if version is None:
            raise RegistryError("there is no previous champion to go back to")
        pointed = pointed_version(registry.root)
        if champion is not None and pointed not in (None, champion):
            # A command was killed before it wrote the pointer: complete that one first.
            write_pointers(registry)
            return champion
        if version == champion:  # killed between the two aliases
            raise RegistryError(
                f"an earlier command was killed, and the champion before {champion} is "
                "not known: name it, bowerbird promote VERSION (bowerbird models lists them)"
            )
        _promote(registry, version, for_all=True)
        if champion is not None:
            _restore_baseline(registry, champion)
        _roll_out(registry, version, now=True)
        _record_rollback(registry, champion, version, "by the operator", of)
        return version


def _record_rollback(
    registry: Registry, champion: str | None, version: str, reason: str, of: str | None
) -> None:
    text = f"version {champion} was rolled back, version {version} is the champion: {reason}"
    facts = {"version": champion, "champion": version, "reason": reason}
    record(registry.root, "rollback", text, OPERATOR if of is None else ENDPOINT, facts)


def promote_if_better(registry: Registry, version: str, prepared: Prepared) -> Comparison | None:
    """Promote ``version`` if it is good enough (``register.rule``); return the comparison.

    A version that is not promoted becomes the challenger. Where there is no champion, ``version``
    is promoted without a comparison, and None is returned; also where it is the champion already,
    or the champion was refreshed from it. While promotions are held (``promotion_hold``), none
    takes the place of a champion. The caller holds the lock.

    Raises:
        SeenEvents: one of the models was fitted on events of the test window.
    """
    served = registry.alias(CHAMPION)
    if served is None:
        _promote(registry, version)
        text = f"version {version} was promoted: there was no champion"
        record(registry.root, "promotion", text, TRAINING, {"version": version})
        return None
    champion = registry.evaluated(served)
    if version in (served, champion):
        return None
    baseline = registry.alias(BASELINE)
    if baseline in (champion, version):
        baseline = None
    for one in (champion, version, baseline):
        if one is not None:
            restore_evaluated(registry, one)
    found = compare(
        registry.folders.evaluated(champion),
        registry.folders.evaluated(version),
        prepared,
        registry.settings,
        None if baseline is None else registry.folders.evaluated(baseline),
    )
    exposure = held_for_exposure(registry, champion, version, prepared, TRAINING)
    found = replace(found, exposure=exposure)
    hold = read_promotion_hold(registry.root)
    if hold is not None:
        found = replace(found, better=False, reason=hold.refusal(found.reason))
    registry.set_alias(CHALLENGER, version)
    for name, value in found.as_dict().items():
        text = json.dumps(value) if isinstance(value, dict) else str(value)
        registry.client.set_model_version_tag(
            registry.name, version, f"against_{champion}.{name}", text
        )
    print(
        f"on {found.users:,} users NDCG@10 {found.challenger:.4f} against the champion's "
        f"{found.champion:.4f}: {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        f"; {found.reason}"
    )
    if found.better:
        _note_baseline(registry, version)
        better_than_baseline = (
            found.low > 0 if found.baseline is None else found.baseline["low"] > 0
        )
        if not better_than_baseline and baseline is None:
            registry.set_alias(BASELINE, champion)
        _promote(registry, version)
        if better_than_baseline:
            registry.delete_alias(BASELINE)
    facts = {"version": version, "champion": champion, **found.as_dict()}
    text = f"version {version} against version {champion}: {found.reason}"
    record(registry.root, "promotion" if found.better else "refusal", text, TRAINING, facts)
    return found


def held_for_exposure(
    registry: Registry,
    champion: Hybrid | str,
    challenger: Hybrid | str,
    prepared: Prepared,
    by: str,
) -> list[dict[str, Any]]:
    """Hold promotions and raise an alert if first pages show a product more often than purchases of
    known customers explain; return these products.

    champion, challenger: versions or their served models.
    """
    root = registry.root
    served: list[Hybrid | Path] = []
    for one in (champion, challenger):
        if isinstance(one, str):
            restore_served(registry, one)
            served.append(registry.folders.served(one))
        else:
            served.append(one)
    gains = unexplained_gains(served[0], served[1], prepared, registry.settings)
    if gains:
        why = [str(one) for one in gains]
        products = [one.item_id for one in gains]
        write_suspects(root, profiles_of(gains))
        name = f"version {challenger}" if isinstance(challenger, str) else "a refresh"
        hold_promotions(root, f"{name}: {'; '.join(why[:3])}", tuple(products), by=by)
        raise_alert(root, "attack", dict(zip(products, why, strict=True)), by)
    return [one.as_dict() for one in gains]


def promote_refreshed(registry: Registry, version: str) -> None:
    """Make a refreshed version the champion; ``previous`` is the version it was refreshed from.

    The baseline stays. The caller holds the lock and has verified that the champion is what was
    refreshed.
    """
    # In this order: of a run that is killed in between, a rollback completes the pointer.
    registry.set_alias(CHAMPION, version)
    registry.set_alias(PREVIOUS, registry.evaluated(version))
    write_pointers(registry)


def remove_unused(registry: Registry, in_use: Collection[str] = ()) -> None:
    """Write the pointers and remove the files of versions without an alias.

    MLflow still has copies, apart from refreshed versions, which are removed there, too: a refresh
    makes one a day. Of a kept refreshed version the one it was refreshed from is kept. in_use:
    versions that are kept although they have no alias. The caller holds the lock.
    """
    versions, rollout = registry.versions(), _rollout(registry)
    kept = {one.version for one in versions if one.aliases} | set(in_use)
    kept |= rollout.versions if rollout else set()
    evaluated = {one.refreshed_from for one in versions if one.version in kept}
    for one in versions:
        if one.refreshed_from is not None and one.version not in kept:
            delete_version(registry, one)
    write_pointers(registry)
    registry.folders.prune(kept | {one for one in evaluated if one is not None})


def write_pointers(registry: Registry) -> None:
    """Write the files that the endpoint follows: champion, challenger, and the list of versions.

    Each file is durable and replaced atomically.
    """
    for alias in (CHAMPION, CHALLENGER):
        version, pointer = registry.alias(alias), pointer_file(registry.root, alias)
        if version is not None:
            write_pointer(registry, alias, version)
        elif alias == CHALLENGER:
            pointer.unlink(missing_ok=True)
    write_versions(registry)


def write_pointer(registry: Registry, alias: str, version: str) -> None:
    """Write the file that makes the endpoint load ``version``, whose files are in place."""
    facts = asdict(release_of(registry, version))
    if alias == CHAMPION:
        facts["promotion"] = asdict(promotion_of(registry, version))
    write_json(pointer_file(registry.root, alias), facts)


def write_versions(registry: Registry) -> None:
    """Write the list of versions, which the endpoint shows."""
    shown = [
        {
            "version": one.version,
            "aliases": list(one.aliases),
            "created": one.created.isoformat(),
            "ndcg": one.ndcg,
            "data_version": one.data_version,
            "refreshed_from": one.refreshed_from,
        }
        for one in registry.versions()
    ]
    write_json(registry.root / SERVING / "versions.json", shown)


def pointer_file(root: Path, alias: str) -> Path:
    """Return the file that names the version of an alias for the endpoint."""
    return root / SERVING / f"{alias}.json"


def pointed_version(root: Path) -> str | None:
    """Return the version that the endpoint follows, None if no pointer can be read."""
    try:
        pointer = json.loads(pointer_file(root, CHAMPION).read_text(encoding="utf-8"))
        return str(pointer["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
