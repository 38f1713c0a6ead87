"""How the ids of events and of files match, and why they do not."""

from __future__ import annotations

import ibis
import pandas as pd
import pytest

from components.data import joins
from components.data.joins import Join

CATALOGUE = pd.Series([f"{n:06}" for n in range(100)])


def join(what: str, events: pd.Series, listed: pd.Series) -> Join:
    con = ibis.duckdb.connect()
    return joins.join(
        what,
        con.create_table("events", pd.DataFrame({"id": events})),
        con.create_table("listed", pd.DataFrame({"id": listed})),
    )


@pytest.mark.parametrize(
    ("events", "listed", "cause"),
    [
        ([str(n) for n in range(100)], CATALOGUE, "zeros on the left; set `leading_zeros: strip`"),
        ([f"{n:06}.0" for n in range(100)], CATALOGUE, "`.0` after whole numbers"),
        ([f"sku-{n:06}" for n in range(100)], CATALOGUE, "'sku-' before the ids of the events"),
        (
            [f"{n:06}" for n in range(100)],
            "shop:" + CATALOGUE,
            "'shop:' before the ids of the files; set `item_prefix: 'shop:'` of the events' source",
        ),
        ([f"a{n}" for n in range(100)], pd.Series([f"A{n}" for n in range(100)]), "capitals; set"),
        (
            [f"A-{n}" for n in range(100)],
            pd.Series([f"A{n}" for n in range(100)]),
            "signs or spaces",
        ),
        (["e\u0301"] * 9, pd.Series(["\u00e9"]), "letters with accents"),
    ],
)
def test_the_cause_of_ids_that_do_not_match(
    events: list[str], listed: pd.Series, cause: str
) -> None:
    found = join("product", pd.Series(events), listed)
    assert found.share == 0
    assert cause in found.cause
    assert repr(found.not_found[0]) in found.line()
    assert repr(found.listed[0]) in found.line()


def test_products_that_left_the_catalogue_have_no_cause() -> None:
    found = join("product", pd.Series(["000001"] * 8 + ["gone", "other"]), CATALOGUE)
    assert (found.known, found.events, found.share) == (8, 10, 0.8)
    assert found.not_found == ["gone", "other"]
    assert found.cause == ""
    assert found.line().startswith("80.0% of 10 events find their product in the item files")


def test_all_known() -> None:
    found = join("customer", pd.Series(["000001"] * 8), CATALOGUE)
    assert found.line() == "100.0% of 8 events find their customer in the user files"
