"""Merchandising rules in the event store: each change is a row, and no row is ever changed.

In: a rule's id and its content as JSON text. Out: the newest content of each rule, and the audit
trail: who changed what, when and why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.events.database import Database
from serving.events.tables import MERCHANDISING_RULES as TABLE

MOST_RULES = 500


class RuleConflict(ValueError):
    """A rule cannot be changed: another change came first, or there are too many."""


@dataclass(frozen=True)
class StoredRule:
    """A change of a rule. revision: grows with every change of any rule. version: of this rule,
    from 1. content: JSON; None: it was deleted. timestamp: microseconds since 1970."""

    revision: int
    rule_id: str
    version: int
    content: str | None
    role: str
    author: str
    note: str
    timestamp: int


def put_rule(
    database: Database,
    rule_id: str,
    content: str | None,
    *,
    role: str,
    author: str,
    note: str = "",
    version: int | None = None,
) -> StoredRule:
    """Store a change of a rule, or with None its deletion; durable on return.

    version: the newest version that the author knows, 0 for a new rule; None: any.

    Raises:
        RuleConflict: the newest version is another, there is nothing to delete, or there are
            MOST_RULES rules.
        StoreError: the database failed; nothing was written.
    """
    with database.writing() as connection:
        if not database.is_postgres:
            # SQLite locks at the first write, and the rows are read before it.
            connection.execute(sa.text("UPDATE merchandising_rules SET note = note WHERE 0"))
        newest = _newest(connection)
        before = newest.get(rule_id)
        known = 0 if before is None else before.version
        if version is not None and version != known:
            raise RuleConflict(f"the newest version of the rule is {known}, not {version}")
        exists = before is not None and before.content is not None
        if content is None and not exists:
            raise RuleConflict("there is no rule of this id")
        n_rules = sum(one.content is not None for one in newest.values())
        if content is not None and not exists and n_rules >= MOST_RULES:
            raise RuleConflict(f"there are {MOST_RULES} rules: delete some first")
        row = {
            "rule_id": rule_id,
            "version": known + 1,
            "content": content,
            "role": role,
            "author": author,
            "note": note,
            "timestamp": time.time_ns() // 1000,
        }
        made = connection.execute(sa.insert(TABLE).values(row).returning(TABLE.c.row_id))
        return StoredRule(revision=made.scalar_one(), **row)  # type: ignore[arg-type]


def read_rules(database: Database) -> list[StoredRule]:
    """Return the newest version of each rule that was not deleted, sorted by its id.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        newest = _newest(connection)
    return [one for _, one in sorted(newest.items()) if one.content is not None]


def rule_changes(
    database: Database, limit: int, before: int | None = None, rule_id: str | None = None
) -> list[StoredRule]:
    """Return changes of rules, the newest first. before: a revision, for those before it.

    Raises:
        StoreError: the database failed.
    """
    wanted = sa.select(TABLE).order_by(TABLE.c.row_id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(TABLE.c.row_id < before)
    if rule_id is not None:
        wanted = wanted.where(TABLE.c.rule_id == rule_id)
    with database.connected() as connection:
        return [_stored(row) for row in connection.execute(wanted).mappings()]


def rules_marker(database: Database) -> tuple[int, int]:
    """Return what changes with every change of a rule: the newest revision, and how many there are.

    Raises:
        StoreError: the database failed.
    """
    with database.connected() as connection:
        wanted = sa.select(sa.func.max(TABLE.c.row_id), sa.func.count())
        newest, count = connection.execute(wanted).one()
        return newest or 0, count


def _newest(connection: sa.Connection) -> dict[str, StoredRule]:
    newest = sa.select(sa.func.max(TABLE.c.row_id)).group_by(TABLE.c.rule_id)
    rows = connection.execute(sa.select(TABLE).where(TABLE.c.row_id.in_(newest))).mappings()
    return {row["rule_id"]: _stored(row) for row in rows}


def _stored(row: sa.RowMapping) -> StoredRule:
    values: dict[str, Any] = dict(row)
    return StoredRule(revision=values.pop("row_id"), **values)
