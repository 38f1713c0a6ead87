"""How presets are found, and how their placeholders are filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.data.sources.columns import MAPPABLE
from components.project.params import params_text
from components.project.presets import SECTIONS, load_preset, names
from components.settings import Ingest, Validate, load_settings
from tests.conftest import REPOSITORY


def written(folder: Path, *files: str) -> Path:
    """Return the folder with empty files of these names."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


@pytest.mark.parametrize("name", names())
def test_every_preset_is_a_section_of_settings(name: str) -> None:
    preset = load_preset(name)
    assert preset.title
    assert preset.source
    assert preset.notes.startswith("- ")
    section = preset.ingest({file: Path(f"/data/{file}.csv") for file in preset.files})
    ingest = Ingest.model_validate(section)
    Validate.model_validate(preset.validation)
    assert ingest.interactions
    for part in SECTIONS:
        for source in section.get(part, []):
            assert set(source["columns"]) <= {*MAPPABLE[part].known, *MAPPABLE[part].aliases}
    text = str(section)
    for file in preset.files:
        assert f"/data/{file}.csv" in text  # every file is read
        assert f"{{{file}}}" not in text


@pytest.mark.parametrize("name", names())
def test_params_with_a_preset_say_the_same(name: str, tmp_path: Path) -> None:
    preset = load_preset(name)
    section = preset.ingest({file: Path(f"/data/{file}.csv") for file in preset.files})
    text = params_text(section, {"validate": preset.validation})
    (tmp_path / "params.yaml").write_text(text)
    written = load_settings(tmp_path / "params.yaml")
    assert written.ingest == Ingest.model_validate(section)
    for key, value in preset.validation.items():
        assert getattr(written.validate_, key) == value
    for query in (
        source["query"]
        for part in SECTIONS
        for source in section.get(part, [])
        if "query" in source
    ):
        lines = [line for line in query.splitlines() if line.strip()]
        indent = text[: text.index(lines[0])].rpartition("\n")[2]
        assert all(f"{indent}{line}" in text for line in lines)  # as a user would write it


def test_files_are_found_compressed_or_one_folder_below(tmp_path: Path) -> None:
    folder = written(tmp_path, "ml-1m/ratings.dat.gz", "ml-1m/movies.dat", "ml-1m/README")
    assert load_preset("movielens-1m").find(folder) == {
        "ratings": folder / "ml-1m/ratings.dat.gz",
        "movies": folder / "ml-1m/movies.dat",
    }


def test_several_files_are_a_pattern(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        "All_Beauty.jsonl",
        "Movies_and_TV.jsonl",
        "meta_All_Beauty.jsonl",
        "meta_Movies_and_TV.jsonl",
    )
    found = load_preset("amazon-reviews-2023").find(folder)
    assert found == {"reviews": folder / "[A-Z]*.jsonl", "metadata": folder / "meta_*.jsonl"}
    assert sorted(one.name for one in folder.glob("[A-Z]*.jsonl")) == [
        "All_Beauty.jsonl",
        "Movies_and_TV.jsonl",
    ]


@pytest.mark.parametrize(
    ("preset", "others", "first", "second"),
    [
        (
            "instacart",
            ["orders.csv", "products.csv", "aisles.csv", "departments.csv"],
            "order_products__train.csv",
            "order_products__prior.csv.zip",
        ),
        (
            "retailrocket",
            ["events.csv", "category_tree.csv"],
            "item_properties_part1.csv.gz",
            "item_properties_part2.csv.zip",
        ),
        ("amazon-reviews-2023", ["meta_A.jsonl"], "Books.jsonl", "Toys.jsonl.gz"),
        ("shopify", ["products_export.csv"], "orders_export_1.csv", "2023/orders_export_0.csv"),
        ("movielens-1m", ["movies.dat"], "ratings.dat", "ratings.dat.gz"),
    ],
)
def test_files_that_one_path_cannot_read_together_are_refused(
    tmp_path: Path, preset: str, others: list[str], first: str, second: str
) -> None:
    folder = written(tmp_path, *others, first, second)
    with pytest.raises(ValueError, match=rf"preset {preset}: .*--file") as caught:
        load_preset(preset).find(folder)
    message = str(caught.value)
    assert f"{folder / first} " in message or f"{folder / first}:" in message
    assert f"{folder / second} " in message or f"{folder / second}:" in message
    advised = Path(message.rpartition("='")[2].removesuffix("'"))
    read = {*folder.glob(str(advised.relative_to(folder)))}
    assert {folder / first, folder / second} <= read


def test_files_with_several_endings_that_one_pattern_matches_are_found(tmp_path: Path) -> None:
    folder = written(tmp_path, "events_1.json", "events_2.json.gz", "__MACOSX/._events_1.json")
    assert load_preset("ga4").find(folder) == {"events": folder / "events_*.json*"}


def test_a_missing_file_is_named_with_what_is_there(tmp_path: Path) -> None:
    folder = written(tmp_path, "olist_order_dataset.csv", "olist_order_items_dataset.csv")
    with pytest.raises(FileNotFoundError) as caught:
        load_preset("olist").find(folder)
    message = str(caught.value)
    assert "preset olist" in message
    assert "has no file olist_orders_dataset.csv (orders)" in message
    assert "did you mean 'olist_order_dataset.csv'?" in message
    assert "https://www.kaggle.com/datasets/olistbr" in message
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        load_preset("olist").find(tmp_path / "nowhere")


def test_a_file_as_the_folder_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "shop.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"shop\.zip is a file: unpack it and give the folder"):
        load_preset("olist").find(tmp_path / "shop.zip")


def test_sources_of_optional_files_that_are_missing_are_left_out() -> None:
    preset = load_preset("hm")
    paths = {name: Path(name) for name in preset.files}
    assert preset.ingest(paths)["users"][0]["path"] == "customers"
    del paths["customers"]
    assert preset.ingest(paths)["users"] == []
    nested = {**preset.template, "users": [{"columns": {}, "any": ["{customers}"]}]}
    assert preset.model_copy(update={"template": nested}).ingest(paths)["users"] == []
    del paths["articles"]
    with pytest.raises(ValueError, match=r"preset hm needs the file articles: articles\.csv"):
        preset.ingest(paths)
    with pytest.raises(ValueError, match="reads no file 'artikles': did you mean 'articles'"):
        preset.ingest({"artikles": Path("x")})


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no preset 'shopfy': did you mean 'shopify'.*movielens"):
        load_preset("shopfy")


def test_the_documentation_names_every_preset() -> None:
    page = (REPOSITORY / "docs/presets.md").read_text()
    assert [name for name in names() if f"| `{name}` |" not in page] == []
