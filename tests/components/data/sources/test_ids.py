"""One id of a request is spelled as the ids of a file are."""

from __future__ import annotations

import ibis
import pyarrow as pa
import pytest

from components.data.sources.ids import ids
from components.data.sources.spelling import ItemSpelling, spelled
from components.settings import Ids, Ingest, Source

LETTERS = [chr(one) for one in range(0x20, 0x20000) if not 0xD800 <= one <= 0xDFFF]
HARD = [
    *("ΑΣ", "0085123a", "7.0", "-7.00", "7.0x", "٣.0", "000", "0", "00ß", "e\u0301a", "12345"),
    *("é1", "🤦🏼‍♂️", "0.0", "00.0", "İX", "007.0", "7.0\u00a0"),
]


@pytest.mark.parametrize(
    "rules",
    [
        Ids(case="upper", unicode="NFC", width=4),
        Ids(case="lower", integral=True, leading_zeros="strip"),
        Ids(integral=True, width=6),
    ],
)
def test_an_id_is_spelled_as_the_database_spells_a_column(rules: Ids) -> None:
    con = ibis.duckdb.connect()
    table = con.create_table("given", pa.table({"id": [*LETTERS, *HARD]}))
    found = table.select("id", of_files=ids(table.id, rules)).execute()
    of_requests = [spelled(one, rules) for one in found["id"]]
    assert of_requests == found["of_files"].tolist()


def source(path: str, **rules: object) -> Source:
    columns = {"user_id": "u", "item_id": "i", "timestamp": "t"}
    return Source.model_validate({"path": path, "columns": columns, **rules})


def test_the_rules_of_all_sources_are_tried_those_of_item_files_first() -> None:
    ingest = Ingest(
        interactions=[source("lines.csv", item_ids={"leading_zeros": "strip"})],
        items=[
            source("data/catalogue/items.parquet"),
            source("items.csv", item_id_case="upper"),
            source("other.csv", item_prefix="other:", item_ids={"case": "lower"}),
        ],
    )
    spelling = ItemSpelling.of(ingest)
    assert spelling.spellings("\u00a0007a ") == ("007A", "7a")
    assert spelling.spellings("other:X") == ("OTHER:X", "other:x", "other:X")
    assert spelling.spellings(" ") == (" ",)
