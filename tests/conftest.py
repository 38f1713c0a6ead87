"""What several rooms' tests share: settings, and a small shop made from the real one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.data import expectations, sources, split
from components.settings import Settings, load_settings

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The settings of the repository's params.yaml."""
    return load_settings(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def small_shop(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings
) -> tuple[Path, Settings]:
    """A folder as the repository's, with every seventh customer's real invoice lines; settings.

    Ingested, validated and preprocessed by the real stages.
    """
    root = tmp_path_factory.mktemp("shop")
    lines = pd.read_parquet(REPOSITORY / "datasets/online-retail/2009-2010.parquet")
    kept = (lines["Customer ID"] % 7 == 0) | (lines["Customer ID"].isna() & (lines.index % 7 == 0))
    lines[kept].to_parquet(root / "lines.parquet")
    reviews = pd.read_csv(REPOSITORY / "datasets/clothing-reviews/reviews.csv.gz")
    reviews.head(600).to_csv(root / "reviews.csv.gz", index=False)
    ingest = settings.ingest.model_copy(
        update={
            "interactions": [
                settings.ingest.interactions[0].model_copy(update={"path": Path("lines.parquet")})
            ],
            "reviews": [
                settings.ingest.reviews[0].model_copy(update={"path": Path("reviews.csv.gz")})
            ],
        }
    )
    small = settings.model_copy(update={"ingest": ingest})
    (root / "reports").mkdir()
    for stage in (sources, expectations, split):
        stage.run(small, root)
    return root, small


@pytest.fixture(scope="session")
def prepared_folder(small_shop: tuple[Path, Settings]) -> Path:
    """``data/prepared`` of the small shop. Read only."""
    return small_shop[0] / "data/prepared"
