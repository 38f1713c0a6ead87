"""Merchandising rules over ranked lists: what they do, what they never do, which of two wins."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from components.settings import Exploration, Serve, Settings
from serving.events.rules_table import StoredRule
from serving.filters.conditions import Not
from serving.filters.expression import Schema, compiled
from serving.merchandising.rulebook import Numbered, Rulebook, parsed
from serving.merchandising.rules import Rule
from serving.recommend.engine import Engine
from serving.recommend.exploration import draw
from serving.recommend.merchandising import standard_scores
from serving.recommend.pipeline import Pipeline
from serving.recommend.steps import NO_STEPS, Steps
from serving.recommend.types import Filters, RankedList, Request, Response
from tests.colour_shop import colour_hybrid, colour_shop
from tests.serving.recommend.requests import ask_for, history_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SCHEMA = Schema.of(
    {"colour": "category", "use": "set", "margin": "number"}, {"age": "category", "likes": "set"}
)
FEW = ("popularity", "item_neighbours")
SHARED: dict[str, Any] = {}


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    """Of the colour shop: product i<n> is blue, red or green by n % 3."""
    train, catalogue = colour_shop()
    return Engine(colour_hybrid(train, catalogue, settings, FEW), "1")


@pytest.fixture(scope="module")
def pipeline(engine: Engine) -> Pipeline:
    return Pipeline(engine, Serve())


def book(*rules: dict[str, Any]) -> Rulebook:
    """Return a rulebook; the later a rule, the newer."""
    made = [Rule.model_validate({"name": "a rule", **one}) for one in rules]
    for one in made:
        one.check(SCHEMA)
    return Rulebook([Numbered(f"r{n}", n, one) for n, one in enumerate(made, 1)], SCHEMA)


def steps(*rules: dict[str, Any], surface: str = "home", **values: Any) -> Steps:
    return book(*rules).steps(surface, lambda: values, NOW)


def asked(k: int, applied: Steps, **more: Any) -> Request:
    filters = more.pop("filters", Filters())
    filters = replace(filters, where=applied.excluded)
    return ask_for(*more.pop("had", (0, 3)), k=k, steps=applied, filters=filters, **more)


def shown(pipeline: Pipeline, request: Request) -> list[int]:
    (response,) = pipeline.run([request])
    return response.codes


def test_without_rules_nothing_changes(pipeline: Pipeline) -> None:
    (plain, other) = pipeline.run([asked(10, NO_STEPS), asked(10, steps())])
    assert other.codes == plain.codes
    assert plain.rules is None


def test_pins_stand_at_their_places(pipeline: Pipeline, engine: Engine) -> None:
    before = shown(pipeline, asked(10, NO_STEPS))
    applied = steps({"action": "pin", "items": ["i50", "i31"], "position": 2})
    (response,) = pipeline.run([asked(10, applied)])
    assert response.codes[1:3] == [50, 31]
    assert [one for one in response.codes if one not in (50, 31)] == [
        one for one in before if one not in (50, 31)
    ][:8]
    logged = json.loads(response.rules or "")
    assert logged == {"rules": [1], "placed": [2, 3]}
    assert json.loads(response.propensities) == [1.0] * 10
    items = json.loads(b"[" + response.items + b"]")
    assert [item["source"] for item in items[1:3]] == ["rule", "rule"]
    assert [item["reason"] for item in items[1:3]] == ["selected by the shop"] * 2
    assert response.source == "hybrid"  # what made the list


def test_a_product_that_may_not_be_shown_is_not_pinned(pipeline: Pipeline, engine: Engine) -> None:
    pin = {"action": "pin", "items": ["i50", "i31", "i52"], "position": 1}
    for request in (
        asked(5, steps(pin), exclude=(50,)),
        asked(5, steps(pin), had=(50,)),  # bought
        asked(5, steps(pin), filters=Filters(attributes=(("colour", ("red",), None, None),))),
        asked(5, steps(pin, {"action": "exclude", "items": ["i50"]})),
        asked(5, steps({**pin, "where": "colour = 'red'"})),
        asked(5, steps({**pin, "items": ["i999", "i31"]})),  # no product of this shop
    ):
        codes = shown(pipeline, request)
        assert 50 not in codes
        assert codes[0] == 31
        assert len(codes) == len(set(codes)) == 5


def test_unavailable_products_are_not_pinned(settings: Settings) -> None:
    train, catalogue = colour_shop()
    catalogue.table.loc[50, "available"] = False
    engine = Engine(colour_hybrid(train, catalogue, settings, FEW), "1")
    pin = steps({"action": "pin", "items": ["i50"], "position": 1})
    assert 50 not in shown(Pipeline(engine, Serve()), asked(5, pin))


def test_of_two_pins_of_a_place_the_higher_priority_then_the_newer_wins(
    pipeline: Pipeline,
) -> None:
    first, second = ({"action": "pin", "items": [f"i{n}"], "position": 1} for n in (50, 31))
    assert shown(pipeline, asked(5, steps(first, second)))[:2] == [31, 50]
    assert shown(pipeline, asked(5, steps({**first, "priority": 1}, second)))[:2] == [50, 31]
    twice = steps(first, {**first, "position": 3})
    assert shown(pipeline, asked(5, twice)).count(50) == 1


def test_a_pin_beyond_a_short_list_stands_at_its_end(pipeline: Pipeline) -> None:
    only = Filters(attributes=(("margin", (), 29.0, 31.0),))
    pin = steps({"action": "pin", "items": ["i31"], "position": 9})
    codes = shown(pipeline, asked(10, pin, filters=only))
    assert codes[-1] == 31
    assert set(codes) == {29, 30, 31}
    assert 31 not in shown(pipeline, asked(3, pin, had=(31,)))


def test_boost_and_bury_move_products_as_far_as_their_weight_says(pipeline: Pipeline) -> None:
    def reds(*rules: dict[str, Any]) -> int:
        return sum(code % 3 == 1 for code in shown(pipeline, asked(10, steps(*rules))))

    boost = {"action": "boost", "where": "colour = 'red'"}
    plain = reds()
    assert plain < reds({**boost, "weight": 5}) == 10
    assert reds({**boost, "action": "bury", "weight": 5}) == 0
    both = reds({**boost, "weight": 5}, {**boost, "action": "bury", "weight": 5})
    assert both == plain  # weights are summed


def margins(pipeline: Pipeline, *rules: dict[str, Any]) -> float:
    """Return the mean margin of a list: product i<n> has the margin n, but i59 has none."""
    return float(np.mean([code for code in shown(pipeline, asked(10, steps(*rules))) if code < 59]))


def test_an_objective_moves_products_by_their_attribute_as_far_as_its_weight_says(
    pipeline: Pipeline,
) -> None:
    objective = {"action": "objective", "by": "margin"}
    plain = margins(pipeline)
    found = [margins(pipeline, {**objective, "weight": one}) for one in (0.5, 1, 3, 10)]
    assert plain < found[0] < found[-1]
    assert found == sorted(found)
    assert found[-1] > 50
    assert margins(pipeline, {**objective, "weight": -10}) < 10
    reds = shown(pipeline, asked(10, steps({**objective, "weight": 10, "where": "colour = 'red'"})))
    assert len([code for code in reds if code % 3 == 1 and code > 28]) > 5
    up = {"action": "boost", "items": ["i2"], "weight": 10}
    assert shown(pipeline, asked(5, steps({**objective, "weight": 1}, up)))[0] == 2  # summed
    assert steps({**objective, "weight": 1}).arranges


def test_an_attribute_that_no_product_has_moves_nothing(pipeline: Pipeline) -> None:
    before = shown(pipeline, asked(10, NO_STEPS))
    objective = {"action": "objective", "by": "price", "weight": 3}  # this shop has no prices
    assert shown(pipeline, asked(10, steps(objective))) == before


def test_one_extreme_value_does_not_make_the_others_equal() -> None:
    scores = standard_scores(np.array([*range(100), 1e9]))
    assert scores[-1] == 3
    assert standard_scores(np.array([5.0, 5.0])).tolist() == [0, 0]
    assert len(standard_scores(np.empty(0))) == 0


def test_an_exposure_moves_its_group_and_is_logged_even_without_an_offset(
    pipeline: Pipeline,
) -> None:
    rule = Rule.model_validate(
        {"name": "x", "action": "exposure", "where": "colour = 'red'", "at_least": 0.5}
    )
    rule.check(SCHEMA)
    offset: list[tuple[str, float]] = []
    rules = Rulebook([Numbered("r", 7, rule)], SCHEMA, lambda revision: tuple(offset))
    idle = rules.steps("home", dict, NOW)
    (response,) = pipeline.run([asked(10, idle)])
    assert json.loads(response.rules or "") == {"rules": [7], "placed": []}
    assert response.codes == shown(pipeline, asked(10, NO_STEPS))
    assert not idle.arranges
    offset.append(("", 5.0))
    moved = rules.steps("home", dict, NOW)
    assert all(code % 3 == 1 for code in shown(pipeline, asked(10, moved)))
    assert moved.key != idle.key
    assert moved.uncounted == NO_STEPS
    capped = Rule.model_validate(
        {"name": "x", "action": "exposure", "by": "colour", "at_most": 0.5}
    )
    rules = Rulebook([Numbered("r", 8, capped)], SCHEMA, lambda revision: (("red", -5.0),))
    codes = shown(pipeline, asked(10, rules.steps("home", dict, NOW)))
    assert not [code for code in codes if code % 3 == 1 and code < 59]


def listed(codes: list[int], scores: list[float] | None = None) -> RankedList:
    return RankedList(codes, scores or [0.0] * len(codes), ["search"] * len(codes))


def test_rules_over_a_list_of_another_route_add_and_lose_nothing(pipeline: Pipeline) -> None:
    codes = [0, 3, 6, 1, 2, 9]
    cap = {"action": "cap", "by": "colour", "most": 1}
    made = pipeline.rearranged(listed(codes), steps(cap), 3, Filters())
    assert made.ranked.items == [0, 1, 2, 3, 6, 9]  # what the cap keeps out follows
    pin = {"action": "pin", "items": ["i50", "i9"], "position": 1}
    made = pipeline.rearranged(listed(codes), steps(pin), 3, Filters())
    assert made.ranked.items == [9, 0, 3, 6, 1, 2]  # 50 is not in the list
    assert made.placed == [1]
    share = {"action": "share", "where": "colour = 'red'", "share": 1.0}
    made = pipeline.rearranged(listed(codes), steps(share), 3, Filters())
    assert sorted(made.ranked.items) == sorted(codes)
    assert 1 in made.ranked.items[:3]
    up = {"action": "boost", "where": "colour = 'green'", "weight": 9}
    assert pipeline.rearranged(listed(codes), steps(up), 3, Filters()).ranked.items[0] == 2
    # Scores count where there are some.
    made = pipeline.rearranged(
        listed([0, 3, 6], [100.0, 1.0, 0.9]),
        steps({"action": "boost", "items": ["i6"], "weight": 1}),
        3,
        Filters(),
    )
    assert made.ranked.items == [0, 6, 3]


def test_rules_over_similar_products_may_add_some(pipeline: Pipeline) -> None:
    pin = {"action": "pin", "items": ["i50", "i0"], "position": 1}
    made = pipeline.rearranged(
        listed([1, 2, 3]), steps(pin), 3, Filters(), exclude=[0], more=lambda request: []
    )
    assert made.ranked.items == [50, 1, 2]  # 0 is the page's own product


def test_excluded_products_are_in_no_list(pipeline: Pipeline) -> None:
    applied = steps({"action": "exclude", "where": "colour in ['blue', 'green']"})
    assert isinstance(applied.excluded, Not)
    codes = shown(pipeline, asked(30, applied))
    assert codes
    assert all(code % 3 == 1 or code == 59 for code in codes)
    assert shown(pipeline, asked(5, applied, popular=True))[0] % 3 == 1  # the holdout too


def test_caps_count_pins_and_hold(pipeline: Pipeline, engine: Engine) -> None:
    cap = {"action": "cap", "by": "colour", "most": 2}
    counts = Counter(code % 3 for code in shown(pipeline, asked(6, steps(cap))))
    assert max(counts.values()) == 2
    pinned = steps(cap, {"action": "pin", "items": ["i0", "i3", "i6"], "position": 1})
    codes = shown(pipeline, asked(6, pinned, had=(20,)))
    assert codes[:3] == [0, 3, 6]  # pins before caps
    assert not any(code % 3 == 0 for code in codes[3:])
    some = steps({**cap, "where": "margin >= 30", "most": 1})
    of_some = Counter(c % 3 for c in shown(pipeline, asked(20, some)) if 30 <= c < 59)
    assert max(of_some.values()) == 1


def test_shares_are_met_with_the_best_products_and_no_more(pipeline: Pipeline) -> None:
    before = shown(pipeline, asked(10, NO_STEPS))
    share = {"action": "share", "where": "colour = 'red'", "share": 0.4}
    (response,) = pipeline.run([asked(10, steps(share))])
    codes = response.codes
    assert sum(code % 3 == 1 for code in before) < 4
    assert sum(code % 3 == 1 for code in codes) == 4
    kept = [code for code in before if code in codes]
    assert [code for code in codes if code in kept] == kept  # in their order
    others = [code for code in before if code % 3 != 1]
    gone = set(before) - set(codes)
    assert gone == set(others[-len(gone) :])  # the lowest of the others gave way
    new = [at for at, code in enumerate(codes, 1) if code not in before]
    assert set(json.loads(response.rules or "")["placed"]) == set(new)
    # It holds already: nothing changes.
    assert shown(pipeline, asked(10, steps({**share, "share": 0.01}))) == before


def test_a_share_takes_products_from_beyond_the_pool_but_breaks_no_cap(engine: Engine) -> None:
    serve = Serve.model_validate({"rules": {"pool": 5}})
    pipeline = Pipeline(engine, serve)
    share = {"action": "share", "where": "margin >= 55", "share": 0.6}
    codes = shown(pipeline, asked(5, steps(share)))
    assert sum(code >= 55 for code in codes) == 3
    cap = {"action": "cap", "by": "colour", "most": 2, "where": "margin >= 55"}
    capped = shown(pipeline, asked(5, steps({**share, "share": 1.0}, cap)))
    assert max(Counter(c % 3 for c in capped if 55 <= c < 59).values()) <= 2


def test_two_shares_hold_together(pipeline: Pipeline) -> None:
    both = steps(
        {"action": "share", "where": "colour = 'red'", "share": 0.5},
        {"action": "share", "where": "colour = 'green'", "share": 0.5},
    )
    codes = shown(pipeline, asked(10, both))
    assert Counter(code % 3 for code in codes) == {1: 5, 2: 5}


def test_rules_apply_by_surface_segment_and_time(pipeline: Pipeline) -> None:
    rules = book(
        {"action": "exclude", "items": ["i1"], "surfaces": ["basket"]},
        {"action": "exclude", "items": ["i2"], "segment": "user.age = 'young'"},
        {"action": "exclude", "items": ["i3"], "segment": "not user.likes in ['tea', 'jam']"},
        {"action": "exclude", "items": ["i4"], "starts": "2026-03-10T13:00:00+01:00"},
        {"action": "exclude", "items": ["i5"], "ends": "2026-03-10T12:00:00Z"},
        {"action": "exclude", "items": ["i6"], "enabled": False},
    )

    def applied(surface: str = "home", **values: Any) -> list[int]:
        found = rules.steps(surface, lambda: values, NOW)
        return sorted(one.revision for one in found.all)

    assert applied() == [3, 4]
    assert applied("basket", age="young", likes=["TEA"]) == [1, 2, 4]
    later = rules.steps("home", lambda: {}, datetime(2026, 4, 1, tzinfo=UTC))
    assert [one.revision for one in later.all] == [4, 3]
    assert rules.steps("home", dict, NOW) is rules.steps("home", dict, NOW)  # made once


def test_attributes_of_a_shopper_are_read_only_for_segments() -> None:
    def fails() -> dict[str, Any]:
        raise AssertionError

    assert book({"action": "exclude", "items": ["i1"]}).steps("home", fails, NOW).all


def test_drafts_replace_and_remove_rules() -> None:
    one = {"action": "exclude", "items": ["i1"]}
    other = Rule.model_validate({"name": "x", "action": "boost", "items": ["i2"], "weight": 1})
    changed = book(one, one).changed({"r1": None, "new": other})
    assert [found.rule_id for found in changed.rules] == ["r2", "new"]


def test_drawn_places_keep_their_propensities_and_no_pin_is_drawn(engine: Engine) -> None:
    exploration = Exploration.model_validate(
        {"policy": "epsilon_greedy", "slots": 3, "candidates": 10, "epsilon": 0.5}
    )
    pipeline = Pipeline(engine, Serve(exploration=exploration))
    explorer = pipeline.arm(None).explorer
    assert explorer is not None
    applied = steps(
        {"action": "pin", "items": ["i50"], "position": 1},
        {"action": "pin", "items": ["i31"], "position": 9},  # of a place that is drawn
        {"action": "exclude", "where": "colour = 'green' and margin < 50"},
    )
    (made,) = pipeline.run([asked(10, applied)])
    places = Counter[int]()
    for seed in range(60):
        drawn: Response = draw(made, explorer, engine.ids, np.random.default_rng(seed))
        assert (drawn.codes[0], drawn.codes[6]) == (50, 31)  # the last place that is not drawn
        assert len(set(drawn.codes)) == 10
        assert not any(code % 3 == 2 and code < 50 for code in drawn.codes)
        propensities = json.loads(drawn.propensities)
        assert propensities[:7] == [1.0] * 7
        assert all(0 < one < 1 for one in propensities[7:])
        assert drawn.rules == made.rules
        places.update(drawn.codes[7:])
    assert len(places) > 3


def test_reasons_of_boosted_products_do_not_credit_the_history(pipeline: Pipeline) -> None:
    boost = steps({"action": "boost", "where": "colour = 'red'", "weight": 9})
    (response,) = pipeline.run([asked(10, boost)])
    items = json.loads(b"[" + response.items + b"]")
    assert {item["source"] for item in items} == {"hybrid"}
    assert all("history as a whole" not in item["reason"] for item in items)


def test_steps_are_sent_as_bytes_and_are_the_same_on_the_other_side() -> None:
    applied = steps(
        {"action": "pin", "items": ["i50"], "position": 1, "where": "margin < 60"},
        {"action": "cap", "by": "colour", "most": 2},
    )
    request = replace(ask_for(1), steps=applied)
    other = pickle.loads(pickle.dumps(request))
    assert other.steps == applied
    assert other.steps is pickle.loads(pickle.dumps(request)).steps
    assert applied.key != NO_STEPS.key == b""
    assert applied.key != steps({"action": "cap", "by": "colour", "most": 3}).key


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "pin", "position": 1, "where": "new"}, "a pin needs items"),
        ({"action": "pin", "items": ["a"]}, "a pin needs position"),
        ({"action": "boost", "items": ["a"]}, "a boost needs weight"),
        ({"action": "boost", "weight": 1}, "a boost needs items or where"),
        ({"action": "exclude"}, "an exclude needs items or where"),
        ({"action": "exclude", "items": ["a"], "most": 2}, "an exclude has no most"),
        ({"action": "cap", "most": 2}, "a cap needs by"),
        ({"action": "share", "share": 0.5}, "a share needs items or where"),
        ({"action": "share", "items": ["a"], "share": 1.5}, "less than or equal to 1"),
        ({"action": "boost", "items": ["a"], "weight": -1}, "a boost needs a weight above 0"),
        ({"action": "objective", "by": "margin", "weight": 0}, "an objective needs a weight"),
        ({"action": "objective", "weight": 1}, "an objective needs by"),
        ({"action": "exposure", "items": ["a"]}, "an exposure needs at_least or at_most"),
        ({"action": "exposure", "at_most": 0.2}, "an exposure needs items, where or by"),
        ({"action": "exposure", "by": "brand", "at_least": 0.2}, "leave out by"),
        (
            {"action": "exposure", "items": ["a"], "at_least": 0.3, "at_most": 0.2},
            "at_most must be above at_least",
        ),
        (
            {
                "action": "exclude",
                "items": ["a"],
                "starts": "2026-03-02T00:00Z",
                "ends": "2026-03-01T00:00Z",
            },
            "ends must be after starts",
        ),
        ({"action": "exclude", "items": ["a"], "starts": "2026-03-02T00:00"}, "timezone"),
    ],
)
def test_incomplete_rules_are_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule.model_validate({"name": "x", **rule})


@pytest.mark.parametrize(
    ("rule", "message", "field"),
    [
        ({"where": "colr = 'red'"}, "there is no attribute colr", "where"),
        ({"where": "colour in user.likes"}, "name the shopper in segment", "where"),
        ({"items": ["a"], "segment": "colour = 'red'"}, "name products in where", "segment"),
        ({"items": ["a"], "segment": "user.name = 'x'"}, "there are user.age", "segment"),
        ({"action": "cap", "by": "use", "most": 1}, "there are brand, category, colour", "by"),
        ({"action": "objective", "by": "colour", "weight": 1}, "there are price, margin", "by"),
        ({"action": "exposure", "by": "margin", "at_most": 0.5}, "there are brand, category", "by"),
    ],
)
def test_rules_name_only_what_exists(rule: dict[str, Any], message: str, field: str) -> None:
    made = Rule.model_validate({"name": "x", "action": "exclude", **rule})
    with pytest.raises(ValueError) as raised:  # noqa: PT011, of a checked sentence
        made.check(SCHEMA)
    assert message in raised.value.args[0]
    assert raised.value.args[1] == field


def test_a_stored_rule_that_no_longer_fits_does_not_apply() -> None:
    rule = {"name": "x", "action": "exclude", "where": "season = 'spring'"}
    stored = StoredRule(1, "r", 1, json.dumps(rule), "operator", "", "", 0)
    found, problem = parsed(stored, SCHEMA)
    assert found is None
    assert "there is no attribute season" in problem
    assert parsed(replace(stored, content='{"name": 1}'), SCHEMA)[0] is None


def test_days_of_a_condition_are_those_of_the_request() -> None:
    schema = Schema.of({"launched": "date"}, {})
    rule = {"name": "x", "action": "exclude", "where": "launched >= days_ago(3)"}
    rules = Rulebook([Numbered("r", 1, Rule.model_validate(rule))], schema)
    (step,) = rules.steps("home", dict, NOW).all
    assert step.condition == compiled(rule["where"], schema).bound(today=date(2026, 3, 10))
    assert rules.steps("home", dict, datetime(2026, 3, 11, tzinfo=UTC)).all != (step,)


def test_histories_of_the_tests_are_of_the_shop(engine: Engine) -> None:
    assert engine.n_items == 60
    assert len(history_of(0, 3).items) == 2
