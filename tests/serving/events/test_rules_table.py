"""Rules in the event store of both databases: versions, the audit trail, conflicts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.events import rules_table
from serving.events.rules_table import RuleConflict, put_rule, read_rules, rule_changes
from serving.events.store import EventStore


def test_versions_are_added_and_the_newest_counts(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EventStore(url, tmp_path)
    database = store.database
    try:
        assert (read_rules(database), rules_table.rules_marker(database)) == ([], (0, 0))
        first = put_rule(database, "sale", '{"a": 1}', role="operator", author="Ann", version=0)
        second = put_rule(database, "sale", '{"a": 2}', role="merchandiser", author="Bo", note="x")
        other = put_rule(database, "brand", "{}", role="operator", author="")
        assert [one.version for one in (first, second, other)] == [1, 2, 1]
        assert first.revision < second.revision < other.revision
        assert read_rules(database) == [other, second]
        gone = put_rule(database, "sale", None, role="operator", author="Ann", version=2)
        assert read_rules(database) == [other]
        assert rules_table.rules_marker(database) == (gone.revision, 4)
        assert rule_changes(database, 9) == [gone, other, second, first]
        assert rule_changes(database, 1, before=other.revision) == [second]
        assert rule_changes(database, 9, rule_id="sale") == [gone, second, first]
        for content, version in ((None, None), ("{}", 2), ("{}", 0)):
            with pytest.raises(RuleConflict):
                put_rule(database, "sale", content, role="operator", author="", version=version)
        again = put_rule(database, "sale", "{}", role="operator", author="", version=3)
        assert again.version == 4
        monkeypatch.setattr(rules_table, "MOST_RULES", 2)
        with pytest.raises(RuleConflict, match="there are 2 rules"):
            put_rule(database, "third", "{}", role="operator", author="")
        put_rule(database, "sale", "{}", role="operator", author="")  # a change is no new rule
    finally:
        store.close()


def test_of_concurrent_changes_of_one_version_one_is_made(url: str, tmp_path: Path) -> None:
    store = EventStore(url, tmp_path)
    made, refused = [], []

    def change(n: int) -> None:
        try:
            made.append(
                put_rule(store.database, "sale", f"{n}", role="operator", author="", version=0)
            )
        except RuleConflict as error:
            refused.append(error)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    try:
        assert (len(made), len(refused)) == (1, 5)
        assert read_rules(store.database) == made
    finally:
        store.close()
