"""Columns of a catalogue read in place: what a list, a dictionary or pandas would give."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from components.data.item_table import (
    BLOCK,
    TEXT,
    TEXTS,
    joined_texts,
    read_item_table,
    rows_by_text,
    with_rows,
    with_values,
    write_item_table,
)
from components.recommenders.base import MISSING
from serving import columns
from serving.columns import Hashes, Ids, Lists, Texts

WORDS = ["mug", None, "茶壶", "", "Straße", "mug"]


def test_texts_of_several_chunks_are_those_of_a_list() -> None:
    chunks = [WORDS[:2], [], WORDS[2:3], WORDS[3:]]
    texts = Texts(pa.chunked_array([pa.array(one, pa.large_string()) for one in chunks]))
    plain = [word or "" for word in WORDS]
    assert [texts[np.int64(at)] for at in range(len(plain))] == plain
    assert [texts[at - len(plain)] for at in range(len(plain))] == plain
    assert (texts[1:5], list(texts), len(texts)) == (plain[1:5], plain, 6)
    assert sorted(texts.distinct()) == sorted(set(plain))
    sliced = Texts(pa.chunked_array([pa.array(WORDS, pa.large_string()).slice(2, 3)]))
    assert list(sliced) == plain[2:5]
    for outside in (6, -7):
        with pytest.raises(IndexError):
            texts[outside]


def test_a_column_without_a_value_is_texts_and_lists() -> None:
    nothing = pd.Series([None, None], dtype=object)
    assert (list(Texts(nothing)), list(Lists(nothing))) == (["", ""], [[], []])
    assert (rows_by_text(nothing), joined_texts([nothing]).to_list()) == ({}, ["", ""])


def test_ids_have_the_codes_that_pandas_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "LATELY", 50)
    known = [f"p{n}" for n in np.random.default_rng(0).permutation(5_000)]
    asked = [f"p{n}" for n in np.random.default_rng(1).integers(0, 6_000, 3_000)]
    expected = pd.Index(known).get_indexer(asked).tolist()
    ids = Ids.of(known)
    assert ids.get_indexer(asked).tolist() == expected  # together
    assert [ids.code(one) for one in asked] == expected
    for start in range(0, len(asked), 100):  # as a request
        some = slice(start, start + 100)
        assert ids.get_indexer(asked[some]).tolist() == expected[some]
    grown = ids.extended(["p5500", "new"]).extended(["newer"])
    expected = pd.Index([*known, "p5500", "new", "newer"]).get_indexer([*asked, "newer"]).tolist()
    assert grown.get_indexer([*asked, "newer"]).tolist() == expected
    assert (grown[5_002], ids.code("newer"), len(ids)) == ("newer", MISSING, 5_000)
    assert Ids.of([]).get_indexer(asked).tolist() == [MISSING] * len(asked)


class Colliding(str):
    """A text with the hash of all others."""

    __slots__ = ()

    def __hash__(self) -> int:
        return 7


def test_of_two_texts_with_one_hash_the_right_one_is_found() -> None:
    texts = [*map(Colliding, ("a", "b", "c"))]
    assert list(Hashes(texts, 3).places(Colliding("z"))) == [0, 1, 2]
    ids = Ids.of(["a", "b", "c"])
    ids._hashed = Hashes(texts, 3)
    assert [ids.code(Colliding(one)) for one in "abcz"] == [0, 1, 2, MISSING]
    asked = [Colliding("abcz"[n % 4]) for n in range(columns.MANY)]
    assert ids.get_indexer(asked).tolist()[:4] == [0, 1, 2, MISSING]


def test_a_table_is_mapped_and_the_same(tmp_path) -> None:
    n = 3 * BLOCK
    table = pd.DataFrame(
        {
            "item_id": [f"p{at}" for at in range(n)],
            "title": [WORDS[at % len(WORDS)] for at in range(n)],
            "brand": None,
            "categories": [[["Home", "Mugs"], [], ["home"]][at % 3] for at in range(n)],
            "price": np.arange(n, dtype=np.float32),
            "available": True,
        }
    )
    before = pa.total_allocated_bytes()
    write_item_table(table, tmp_path)
    read = read_item_table(tmp_path)
    assert pa.total_allocated_bytes() - before < 2 * n  # texts stay in the file
    assert (read["title"].dtype, read["categories"].dtype) == (TEXT, TEXTS)
    assert list(Texts(read["title"])) == [word or "" for word in table["title"]]
    assert list(Lists(read["categories"])) == table["categories"].tolist()
    assert (read["price"] == table["price"]).all()
    table.to_parquet(tmp_path / "items.parquet")
    (tmp_path / "items.arrow").unlink()
    pd.testing.assert_frame_equal(read_item_table(tmp_path), read)  # as earlier versions wrote it
    rows = rows_by_text(read["categories"])
    assert rows["home"].tolist() == [at for at in range(n) if at % 3 != 1]
    assert joined_texts([read["title"], read["categories"]])[0] == "mug Home Mugs"


def test_changed_and_new_rows_leave_the_others_where_they_are(tmp_path) -> None:
    n = 5 * BLOCK
    table = pd.DataFrame({"title": [f"title {at}" for at in range(n)], "price": 1.0})
    write_item_table(table, tmp_path)
    read = read_item_table(tmp_path)
    before = pa.total_allocated_bytes()
    changed = {3: None, BLOCK: "first of a block", n - 1: "last"}
    read["title"] = with_values(read["title"], changed)
    grown = with_rows(read, pd.DataFrame({"title": ["new"], "price": [2.0]}))
    assert pa.total_allocated_bytes() - before < 4 * 25 * BLOCK
    expected = [changed.get(at, f"title {at}") or "" for at in range(n)]
    assert list(Texts(grown["title"])) == [*expected, "new"]
    assert grown["title"].dtype == TEXT
    assert with_values(read["price"], {1: 5.0}).iloc[[0, 1]].tolist() == [1.0, 5.0]
