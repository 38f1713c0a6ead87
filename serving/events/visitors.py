"""What shoppers bought after their first exposure, and what they did before it, summed by arm.

In: an experiment's exposures and the events. Out: for each arm the sums that means, variances and
covariances are made of; no shopper leaves the database.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from components.data.schema import NONE, SHOP
from serving.events.database import Database
from serving.events.tables import DAY, EVENTS, EXPOSURES

BEFORE_DAYS = 28
"""Days before the first exposure whose activity is the covariate."""
MOST_EVENTS = 100
"""Events before the exposure that count at most: robots must not stretch the covariate."""


@dataclass(frozen=True)
class Sums:
    """Sums over n shoppers of an outcome y and a covariate x from before the exposure."""

    n: int
    y: float
    yy: float
    x: float
    xx: float
    xy: float


@dataclass(frozen=True)
class Visitors:
    """buyers: whether a shopper bought, with the number of events before. revenue: with the revenue
    before. purchases: shoppers with a purchase."""

    arm: str
    users: int
    purchases: int
    buyers: Sums
    revenue: Sums


def visitors(database: Database, experiment: str) -> list[Visitors]:
    """Return the sums of each arm of an experiment.

    Revenue counts purchases that were sent with the shop's key: only their prices are trusted.
    Events without authentication count nowhere.

    Raises:
        StoreError: the database failed.
    """
    after = EVENTS.c.timestamp >= EXPOSURES.c.timestamp
    bought = EVENTS.c.event == "purchase"
    worth = sa.case(
        (
            sa.and_(bought, EVENTS.c.authentication == SHOP, EVENTS.c.price.is_not(None)),
            EVENTS.c.price * EVENTS.c.quantity,
        ),
        else_=0.0,
    )
    before = sa.func.sum(sa.case((after, 0), (EVENTS.c.row_id.is_(None), 0), else_=1))
    activity = sa.and_(
        EVENTS.c.profile == EXPOSURES.c.profile,
        EVENTS.c.timestamp >= EXPOSURES.c.timestamp - BEFORE_DAYS * DAY,
        EVENTS.c.authentication != NONE,
        sa.or_(bought, sa.not_(after)),
    )
    shoppers = (
        sa.select(
            EXPOSURES.c.arm,
            sa.func.max(sa.case((sa.and_(bought, after), 1.0), else_=0.0)).label("bought"),
            sa.func.sum(sa.case((after, worth), else_=0.0)).label("spent"),
            sa.case((before > MOST_EVENTS, float(MOST_EVENTS)), else_=before * 1.0).label("active"),
            sa.func.sum(sa.case((after, 0.0), else_=worth)).label("spent_before"),
        )
        .select_from(EXPOSURES.outerjoin(EVENTS, activity))
        .where(EXPOSURES.c.experiment == experiment)
        .group_by(EXPOSURES.c.row_id, EXPOSURES.c.arm)
        .subquery()
    )
    one, total = shoppers.c, sa.func.sum
    pairs = ((one.bought, one.active), (one.spent, one.spent_before))
    products = [total(f) for y, x in pairs for f in (y, y * y, x, x * x, x * y)]
    statement = sa.select(one.arm, sa.func.count(), *products).group_by(one.arm).order_by(one.arm)
    with database.connected(timeout=None) as connection:
        return [
            Visitors(
                arm, n, int(sums[0]), Sums(n, *map(float, sums[:5])), Sums(n, *map(float, sums[5:]))
            )
            for arm, n, *sums in connection.execute(statement)
        ]
