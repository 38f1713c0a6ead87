"""A hold on promotions: while it is there, ``register`` and ``refresh`` promote no version.

In: an alarm of the monitoring, or the operator. Out: ``var/monitoring/promotion_hold.json``, and
entries in the timeline. A version can still be promoted by hand. ``bowerbird hold --promotion``
begins a hold, ``bowerbird release --promotion`` ends it, and resolves the alerts of an attack.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from components.alerts import resolve_alerts
from components.json_files import write_json
from components.timeline import record

FILE = Path("var/monitoring/promotion_hold.json")
SUSPECTS = Path("var/monitoring/suspects.parquet")
"""Profiles of a suspected attack: item_id, sign, user_id. An erasure removes them."""
END = "`bowerbird release --promotion` ends the hold"


@dataclass(frozen=True)
class PromotionHold:
    """since: time, ISO 8601. reason: one sentence. products: ids of lifted products."""

    since: str
    reason: str
    products: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"promotions are held since {self.since[:16]} ({self.reason}); {END}"

    def refusal(self, otherwise: str) -> str:
        """Return why no version is promoted; otherwise: the reason of the decision without it."""
        return f"not promoted: {self}; without the hold: {otherwise}"


def read_promotion_hold(root: Path) -> PromotionHold | None:
    """Return the hold below ``root``, None without one.

    A file that cannot be read is a hold: its reason is lost, that there was one is not.
    """
    file = root / FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        values = {one.name: content[one.name] for one in fields(PromotionHold)}
        return PromotionHold(**{**values, "products": tuple(values["products"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return PromotionHold("unknown", f"{file} cannot be read: {error}")


def hold_promotions(
    root: Path, reason: str, products: tuple[str, ...] = (), by: str = "operator"
) -> PromotionHold:
    """Hold all promotions and return the hold; durable on return. An earlier one keeps its time."""
    before = read_promotion_hold(root)
    since = before.since if before else datetime.now(UTC).isoformat(timespec="seconds")
    hold = PromotionHold(since, reason, products)
    write_json(root / FILE, asdict(hold))
    if hold != before:
        record(root, "promotions-held", f"promotions are held: {reason}", by, asdict(hold))
    return hold


def write_suspects(root: Path, profiles: pd.DataFrame) -> None:
    """Write the profiles of a suspected attack, which ``bowerbird held`` lists."""
    file = root / SUSPECTS
    file.parent.mkdir(parents=True, exist_ok=True)
    profiles.to_parquet(file, index=False)


def release_promotions(root: Path, by: str = "operator") -> bool:
    """End the hold on promotions; return whether there was one."""
    file = root / FILE
    before, there = read_promotion_hold(root), file.exists()
    file.unlink(missing_ok=True)
    if there and before is not None:
        record(root, "promotions-released", "promotions are allowed again", by, asdict(before))
        resolve_alerts(root, "attack", "the operator ended the hold on promotions", by)
    return there
