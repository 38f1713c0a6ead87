"""Formats are made of what a time looks like, and DuckDB reads the time by one of them."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest

from components.data.sources.cells import of_text
from components.data.sources.files import connect
from components.data.sources.time_formats import formats_like, letters_of, why_unread
from components.data.sources.times import times

NOON = datetime(2024, 4, 13, 12, 5)
TEXTS = [
    *("13/04/2024 à 12:05", "04/13/2024 12:05PM", "4/13/2024 12:05:00 pm", "13.04.2024 12.05"),
    *("13. 4. 2024 12:05", "2024年04月13日 12時05分", "13/04/2024 12h05", "20240413T120500"),
    *("20240413120500", "Apr 13, 2024 12:05 PM", "13-Apr-24 12:05", "Sat Apr 13 12:05:00 2024"),
    *("Saturday 13 April 2024 12:05", "2024-04-13 12:05:00,000", "24/04/13 12:05"),
    *("12:05 13.04.2024", "13.04.2024 12:05 Uhr"),
    *("Sat, 13 Apr 2024 12:05:00 +0000", "2024-04-13 14:05:00+02:00", "2024-04-13 12:05:00 UTC"),
    "2024-04-13 14:05:00 Europe/Berlin",
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


WORDS = [
    *(
        "13/04/2024 12:05 p. m.",
        "13/04/2024 12:05:00 P.M.",
        "4/13/2024 12:05p",
        "4/13/2024 12:05 p",
    ),
    *("2024-04-13 下午 12:05:00", "2024年4月13日 午後12時05分", "2024-04-13 오후 12:05"),
    *("2024-04-13 04:05:00 PST", "Apr 13, 2024 5:05:00 AM PDT", "13.04.2024 13:05:00 MEZ"),
    *("13.04.2024 14:05 CEST", "24年4月13日 12:05", "24.04.13 12:05"),
    "Sat Apr 13 2024 14:05:00 GMT+0200 (Central European Summer Time)",
]


@pytest.mark.parametrize("text", WORDS)
def test_words_for_halves_of_the_day_and_zones_change_the_time(text: str) -> None:
    con = connect("UTC")
    table = con.create_table("t", {"text": [text]}, temp=True)
    read = [
        table.select(time=times(of_text(table.text), [form], None)).execute()["time"][0]
        for form in formats_like(text)
    ]
    assert NOON.replace(tzinfo=UTC) in read
    assert not any(letters_of(form) for form in formats_like(text))


def test_names_of_a_zone_in_summer_and_winter_are_read_by_one_format() -> None:
    (form,) = formats_like("Wed Jan 03 2024 14:35:00 GMT+0100 (Central European Standard Time)")
    assert [form] == formats_like(WORDS[-1])


def test_chinese_characters_say_the_order_themselves() -> None:
    assert formats_like("2024年1月3日") == ["%Y年%m月%d日"]
    assert formats_like("24年1月3日") == ["%y年%m月%d日"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *(
            ("R6.1.3", "'R' counts"),
            ("R06.01.13", "'R' counts"),
            ("令和6年1月13日", "Reiwa + 2018"),
        ),
        *(("民國113年1月13日", "Minguo + 1911"), ("2024-01-03 14:35 CST", "'CST'")),
        *(
            ("2024-01-03 2:35 IST", "writes its offset"),
            ("2024-01-03 晚上 08:35", "(which %p reads)"),
        ),
    ],
)
def test_a_word_that_is_not_known_is_no_letter_of_a_format(text: str, why: str) -> None:
    assert formats_like(text) == []
    assert why in why_unread(text)


def test_the_remedy_for_an_unknown_zone_reads_the_time() -> None:
    text = "2024-01-03 14:35 CST".replace("CST", "-06:00")
    con = connect("UTC")
    table = con.create_table("t", {"text": [text]}, temp=True)
    (time,) = table.select(time=times(of_text(table.text), ["%Y-%m-%d %H:%M %z"], None)).execute()[
        "time"
    ]
    assert time == datetime(2024, 1, 3, 20, 35, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "28410124",
        "A-100",
        "1709294400",
        "192.168.100.20",
        "2026-W10-1",
        "2. Januar 2024",
        "100 % 1/2/24",
    ],
)
def test_other_texts_look_like_no_time(text: str) -> None:
    assert formats_like(text) == []
