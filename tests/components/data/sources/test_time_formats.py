"""Formats are made of what a time looks like, and DuckDB reads the time by one of them."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from components.data.sources.time_formats import formats_like

NOON = datetime(2024, 4, 13, 12, 5)
TEXTS = [
    *("13/04/2024 à 12:05", "04/13/2024 12:05PM", "4/13/2024 12:05:00 pm", "13.04.2024 12.05"),
    *("13. 4. 2024 12:05", "2024年04月13日 12時05分", "13/04/2024 12h05", "20240413T120500"),
    *("20240413120500", "Apr 13, 2024 12:05 PM", "13-Apr-24 12:05", "Sat Apr 13 12:05:00 2024"),
    *("Saturday 13 April 2024 12:05", "2024-04-13 12:05:00,000", "24/04/13 12:05"),
    *("12:05 13.04.2024", "13.04.2024 12:05 Uhr"),
    *("Sat, 13 Apr 2024 12:05:00 +0000", "2024-04-13 14:05:00+02:00", "2024-04-13 12:05:00 UTC"),
    *("2024-04-13 14:05:00 Europe/Berlin", "Sat Apr 13 2024 14:05:00 GMT+0200 (Summer Time)"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_time_is_read_by_a_format_that_it_looks_like(text: str) -> None:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    read = [
        con.execute("SELECT try_strptime(?, ?)::TIMESTAMPTZ", [text, form]).fetchone()
        for form in formats_like(text)
    ]
    times = {
        moment.astimezone(UTC).replace(tzinfo=None) for (moment,) in filter(None, read) if moment
    }
    assert NOON in times


@pytest.mark.parametrize(
    "text",
    ["A-100", "1709294400", "192.168.100.20", "2026-W10-1", "2. Januar 2024", "100 % 1/2/24"],
)
def test_other_texts_look_like_no_time(text: str) -> None:
    assert formats_like(text) == []
