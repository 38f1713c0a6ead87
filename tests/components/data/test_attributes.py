"""Attributes from the shop's files to the arrays of the models, and their erasure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from components.data import split
from components.data.attribute_codes import UserAttributes, Vocabulary
from components.data.dataset import Prepared, item_text, load_prepared
from components.data.profiles import attributes_file, write_profiles
from components.file_erasure import (
    ErasedPeople,
    erase_exports,
    erase_tables,
    personal_rows,
    profile_hash,
    write_erasures,
)
from components.settings import Ingest, Preprocess, Settings
from tests.components.data.shop_files import ingest, quarantined, validate

ITEM_ATTRIBUTES = {
    "margin": "number",
    "colour": {"type": "category", "column": "Farbe"},
    "season": {"type": "set", "separator": ","},
    "care": "text",
    "launched": "date",
}
USER_ATTRIBUTES = {"age": {"type": "category", "column": "age band"}, "household": "number"}
N_USERS, N_ITEMS = 40, 20


def write_shop(root: Path) -> dict[str, Any]:
    """Write the files of a shop; return its settings of ``ingest``."""
    random = np.random.default_rng(0)
    n = 600
    lines = pd.DataFrame(
        {
            "user": [f"u{one}" for one in random.integers(0, N_USERS, n)],
            "item": [f"i{one}" for one in random.integers(0, N_ITEMS, n)],
            "time": pd.date_range("2024-01-01", periods=n, freq="6h").astype(str),
        }
    )
    lines.to_csv(root / "lines.csv", index=False)
    items = pd.DataFrame(
        {
            "id": [f"i{one}" for one in range(N_ITEMS)],
            "name": [f"Cup {one}" for one in range(N_ITEMS)],
            "margin": [f"{one},5" for one in range(N_ITEMS)],
            "Farbe": ["blau &amp; rot", "n/a", *["gelb", "blau"] * 9],
            "season": ["winter, summer,winter", None, *["summer", "winter"] * 9],
            "care": "By hand",
            "launched": "31.12.2020",
        }
    )
    items.loc[4, "margin"] = "much"
    items.loc[5, "launched"] = "soon"
    items.to_csv(root / "items.csv", index=False, sep=";")
    users = pd.DataFrame(
        {
            "id": [f"u{one}" for one in range(N_USERS + 5)],  # five without an interaction
            "age band": ["25-34", "65+", "65+", "25-34", "NULL"] * 9,
            "household": [str(1 + one % 4) for one in range(N_USERS + 5)],
        }
    )
    users.loc[7, "household"] = "many"
    users.to_csv(root / "users.csv", index=False)
    return {
        "interactions": [
            {
                "path": "lines.csv",
                "columns": {"user_id": "user", "item_id": "item", "timestamp": "time"},
            }
        ],
        "items": [
            {
                "path": "items.csv",
                "columns": {"item_id": "id", "title": "name"},
                "attributes": ITEM_ATTRIBUTES,
                "decimal": ",",
                "nulls": ["n/a"],
                "timestamp_format": "%d.%m.%Y",
            }
        ],
        "users": [
            {
                "path": "users.csv",
                "columns": {"user_id": "id"},
                "attributes": USER_ATTRIBUTES,
                "nulls": ["NULL"],
            }
        ],
    }


def prepare(settings: Settings, root: Path) -> Prepared:
    short = Preprocess(validation_days=7, test_days=7)
    split.run(settings.model_copy(update={"preprocess": short}), root)
    return load_prepared(root / "data/prepared")


@pytest.fixture(scope="module")
def validated(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shop")
    ingest(settings, root, **write_shop(root))
    validate(settings, root)
    return root


@pytest.fixture
def shop(validated: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(validated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_the_five_types_are_read_by_the_signs_and_words_of_the_source(shop: Path) -> None:
    raw = pd.read_parquet(shop / "data/raw/items.parquet").set_index("item_id")
    assert raw["number:margin"].tolist()[:4] == [0.5, 1.5, 2.5, 3.5]
    assert raw["category:colour"].tolist()[:3] == ["blau & rot", None, "gelb"]
    assert raw["set:season"]["i0"].tolist() == ["summer", "winter"]
    assert raw["set:season"]["i1"] is None
    assert raw["text:care"].eq("By hand").all()
    assert raw["date:launched"]["i0"] == pd.Timestamp("2020-12-31", tz="UTC")
    users = pd.read_parquet(shop / "data/raw/users.parquet").set_index("user_id")
    assert users["category:age"].tolist()[:5] == ["25-34", "65+", "65+", "25-34", None]


def test_a_value_that_is_not_of_its_type_quarantines_its_row(shop: Path) -> None:
    bad = quarantined(shop, "items").set_index("item_id")
    assert bad["reasons"].map(list).to_dict() == {
        "i4": ["attribute margin cannot be read"],
        "i5": ["attribute launched cannot be read"],
    }
    assert bad["unreadable"]["i4"] == "attribute margin: 'much'"
    assert quarantined(shop, "users")["user_id"].tolist() == ["u7"]
    valid = pd.read_parquet(shop / "data/valid/items.parquet")
    assert len(valid) == N_ITEMS - 2
    assert {"number:margin", "set:season"} < set(valid.columns)


def test_values_that_are_mostly_of_another_type_are_refused(
    settings: Settings, tmp_path: Path
) -> None:
    sources = write_shop(tmp_path)
    sources["items"][0]["attributes"] = {"care": "number"}
    with pytest.raises(ValueError, match=r"'care' \(for attribute care\) should hold a number"):
        ingest(settings, tmp_path, **sources)
    sources["items"][0]["attributes"] = {"colour": "category"}
    with pytest.raises(ValueError, match=r"items.csv .*colour"):  # the column is called Farbe
        ingest(settings, tmp_path, **sources)


def test_tables_without_attributes_are_as_before(settings: Settings, tmp_path: Path) -> None:
    sources = write_shop(tmp_path)
    for table in ("items", "users"):
        sources[table][0].pop("attributes")
    sources["items"][0].pop("timestamp_format")
    tables = ingest(settings, tmp_path, **sources)
    shutil.copytree(tmp_path / "data/raw", tmp_path / "data/valid")  # ``validate`` takes seconds
    prepared = prepare(settings, tmp_path)
    names = [*tables["items"].columns, *tables["users"].columns, *prepared.users.columns]
    assert not [name for name in names if ":" in name]
    assert prepared.interactions.attributes is None
    assert prepared.interactions.histories(np.array([0]), prepared.end).attributes is None
    assert not (tmp_path / "data/prepared/newcomers.parquet").exists()
    write_profiles(prepared, tmp_path / "models/profiles/profiles.parquet")
    assert [one.name for one in (tmp_path / "models/profiles").iterdir()] == ["profiles.parquet"]


def test_histories_have_the_attributes_of_their_users(settings: Settings, shop: Path) -> None:
    prepared = prepare(settings, shop)
    attributes = prepared.interactions.attributes
    assert attributes is not None
    labels = list(attributes.vocabulary.labels())
    ages = prepared.users["category:age"]
    rows = np.flatnonzero(ages.notna())[[3, 0, 5]]
    histories = prepared.interactions.histories(rows, prepared.end)
    for part in (histories, histories.last(2), histories.take(slice(0, 3))):
        assert part.attributes is not None
        known = [{labels[code] for code in row.indices} for row in part.attributes.codes]
        assert [{value for name, value in one if name == "age"} for one in known] == [
            {ages[row]} for row in rows
        ]
    picked = histories.pick(np.array([2, 0]))
    assert picked.attributes is not None
    assert histories.attributes is not None
    assert (picked.attributes.codes != histories.attributes.codes[[2, 0]]).nnz == 0


def test_a_user_without_an_interaction_has_attributes_in_the_profiles(
    settings: Settings, shop: Path
) -> None:
    prepared = prepare(settings, shop)
    file = shop / "models/profiles/profiles.parquet"
    write_profiles(prepared, file)
    found = pd.read_parquet(attributes_file(file)).set_index("user_id")
    assert found["category:age"]["u41"] == "65+"
    assert found["number:household"]["u44"] == 1
    assert not set(prepared.users["user_id"]) & {f"u{n}" for n in range(N_USERS, N_USERS + 5)}


def test_a_persons_attributes_are_exported_and_erased(settings: Settings, shop: Path) -> None:
    prepared = prepare(settings, shop)
    file = shop / "models/profiles/profiles.parquet"
    write_profiles(prepared, file)
    for user in ("u1", "u41"):  # with and without interactions
        rows = personal_rows(settings, shop, user)
        assert {"65+"} == {row["category:age"] for row in rows if "category:age" in row}
        erase_exports(settings, shop, [user])
        erase_tables(settings, shop, [user])
        assert not personal_rows(settings, shop, user)
        assert user not in pd.read_parquet(attributes_file(file))["user_id"].tolist()
        newcomers = pd.read_parquet(shop / "data/prepared/newcomers.parquet")
        assert user not in newcomers["user_id"].tolist()
    users = pd.read_parquet(shop / "data/prepared/users.parquet")
    emptied = users[users["user_id"].str.startswith("erased")]
    assert len(emptied) == 1
    assert emptied[["category:age", "number:household"]].isna().all(axis=None)


def test_attributes_of_erased_people_are_not_ingested(settings: Settings, tmp_path: Path) -> None:
    sources = write_shop(tmp_path)
    key = "0" * 64
    erased = ErasedPeople({profile_hash("user:u41", key): 1_800_000_000_000_000}, key)
    write_erasures(tmp_path, erased)
    users = ingest(settings, tmp_path, **sources)["users"]
    assert "u41" not in users["user_id"].tolist()
    assert "u42" in users["user_id"].tolist()


def test_items_of_the_lines_have_no_attributes_until_they_are_put(
    settings: Settings, tmp_path: Path
) -> None:
    sources = write_shop(tmp_path)
    lines = pd.read_csv(tmp_path / "lines.csv").assign(name="Cup")
    lines.to_csv(tmp_path / "lines.csv", index=False)
    sources["interactions"][0]["columns"]["title"] = "name"
    put = pd.DataFrame({"item_id": ["i3", "new"], "title": "Cup", "colour": ["blue", None]})
    put["launched"] = ["2024-05-01", None]
    (tmp_path / "data/catalogue").mkdir(parents=True)
    put.to_parquet(tmp_path / "data/catalogue/items.parquet")
    sources["items"] = [
        {
            "path": "data/catalogue/items.parquet",
            "columns": {"item_id": "item_id", "title": "title"},
            "attributes": {"colour": "category", "launched": "date"},
        }
    ]
    items = ingest(settings, tmp_path, **sources)["items"].set_index("item_id")
    assert len(items) == N_ITEMS + 1
    assert items["category:colour"].dropna().to_dict() == {"i3": "blue"}
    assert items["date:launched"].dropna().to_dict() == {"i3": pd.Timestamp("2024-05-01", tz="UTC")}


def test_declarations_that_contradict_themselves_are_refused() -> None:
    lines = {"path": "l.csv", "columns": {"user_id": "u", "item_id": "i", "timestamp": "t"}}
    items = {"path": "i.csv", "columns": {"item_id": "i", "title": "t"}}

    def declare(**sources: Any) -> None:
        Ingest.model_validate({"interactions": [lines], **sources})

    with pytest.raises(ValidationError, match="colour is a category in one source and a set"):
        declare(
            items=[
                {**items, "attributes": {"colour": "category"}},
                {**items, "attributes": {"colour": "set"}},
            ]
        )
    with pytest.raises(ValidationError, match="only sources of items and users have attributes"):
        declare(interactions=[{**lines, "attributes": {"colour": "category"}}])
    with pytest.raises(ValidationError, match="separator belongs to a set"):
        declare(items=[{**items, "attributes": {"x": {"type": "text", "separator": ","}}}])
    with pytest.raises(ValidationError):
        declare(items=[{**items, "attributes": {"a:b": "text"}}])


def test_rare_values_have_no_code() -> None:
    table = pd.DataFrame(
        {
            "category:job": ["nurse"] * 10 + ["astronaut"],
            "set:likes": [["red", "blue"]] * 10 + [["red", "gold"]],
            "number:children": [0.0, 1, 2] * 3 + [np.nan, 9],
        }
    )
    vocabulary = Vocabulary.of(table)
    assert vocabulary.values["category:job"] == ("nurse",)
    assert vocabulary.values["set:likes"] == ("red", "blue")
    codes = vocabulary.encode(table)
    assert codes.shape == (11, len(vocabulary))
    assert codes[:, vocabulary.parts["category:job"]].sum() == 10
    assert codes[9, vocabulary.parts["number:children"]].nnz == 0  # unknown
    few = Vocabulary.of(table.head(5)).values["number:children"]
    assert few == ()  # its bounds would be numbers of single rows
    assert Vocabulary.from_config(vocabulary.config()).values == vocabulary.values
    # An unknown value and an absent column have no code.
    assert vocabulary.encode(pd.DataFrame({"category:job": ["pilot"]})).nnz == 0
    assert UserAttributes.of(pd.DataFrame({"user_id": ["a"]})) is None


def test_codes_of_another_vocabulary_mean_the_same_values() -> None:
    table = pd.DataFrame(
        {
            "category:job": ["nurse"] * 12 + ["cook"] * 10,
            "number:age": np.arange(22.0),
            "date:joined": pd.date_range("2024-01-01", periods=22, tz="UTC"),
        }
    )
    attributes = UserAttributes.of(table)
    assert attributes is not None
    other = Vocabulary.of(pd.concat([table.iloc[11:], table.iloc[12:]]).drop(columns="date:joined"))
    found = attributes.codes_in(other)
    assert found.shape == (22, len(other))
    jobs, ages = (found[:, other.parts[one]].toarray() for one in ("category:job", "number:age"))
    assert other.values["category:job"] == ("cook",)  # of the later half
    assert jobs[:, 0].tolist() == [0] * 12 + [1] * 10
    assert (ages.sum(axis=1) == 1).all()
    assert (np.diff(ages.argmax(axis=1)) >= 0).all()  # in the order of the numbers
    same = Vocabulary.from_config(attributes.vocabulary.config())
    assert attributes.codes_in(same) is attributes.codes


def test_attributes_of_the_type_text_are_in_the_text_of_a_product(
    settings: Settings, shop: Path
) -> None:
    texts = item_text(prepare(settings, shop).catalogue.table)
    assert texts[0].startswith("cup 0")
    assert all(text.endswith(". by hand") for text in texts)
    assert not any("gelb" in text or "winter" in text for text in texts)
