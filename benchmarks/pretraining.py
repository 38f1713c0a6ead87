"""Pre-training of each model family on the shop's texts: benchmarks/results/pretraining.md.

    python -m benchmarks.pretraining [--root .] [--steps 40] [--reviews 500] [--encoders a,b]

Needs data/prepared and data/valid (``bowerbird preprocess``). Each family starts from scratch with
a tokenizer trained on the corpus (products and the first reviews; 2 layers, 128 wide) and takes the
same number of steps of the same size. ``--encoders`` selects families; the other figures are not
changed. Losses are per target token of the training batches, perplexities of held-out documents.
For masked and permuted words they are pseudo-perplexities, comparable within a family and not
across families.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from components.language import corpus, pretraining
from components.language.families import FAMILIES, SCRATCH
from components.settings import Settings, load_settings

RESULTS = Path(__file__).parent / "results"
LEARNING_RATE = 2e-3  # from scratch; other encoders take params.yaml's
LOSSES = ("mlm", "clm", "plm")


def train(encoder: str, root: Path, settings: Settings, steps: int, reviews: int) -> pd.DataFrame:
    """Return encoder, step, loss and perplexity (where looked at; step 0 is before training)."""
    rate = LEARNING_RATE if encoder.startswith(SCRATCH) else settings.pretrain.learning_rate
    changes = {"encoder": encoder, "steps": steps, "learning_rate": rate, "log_every": 1}
    section = settings.pretrain.model_copy(update=changes)
    settings = settings.model_copy(update={"pretrain": section})
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "reports").mkdir()
        (place / "data/valid").mkdir(parents=True)
        (place / "data/prepared").symlink_to((root / "data/prepared").resolve())
        read = pd.read_parquet(root / "data/valid/reviews.parquet").head(reviews)
        read.to_parquet(place / "data/valid/reviews.parquet")
        corpus.run(settings, place)
        pretraining.run(settings, place)
        report = json.loads((place / "reports/pretrain.json").read_text())
        log = pd.read_csv(place / "reports/pretrain.csv")
    name = next(name for name in LOSSES if name in log)
    found = pd.DataFrame(
        {"step": log["step"] + 1, "loss": log[name], "perplexity": log["held_out"]}
    )
    before = pd.DataFrame({"step": [0], "perplexity": [report["perplexity_before"]]})
    return pd.concat([before, found]).assign(encoder=encoder)


def write(table: pd.DataFrame, settings: Settings, steps: int, reviews: int) -> None:
    """Write pretraining.{csv,png,md} of everything measured so far."""
    table.to_csv(RESULTS / "pretraining.csv", index=False, float_format="%.4f")
    figure, axes = plt.subplots(figsize=(8, 4.5))
    lines = []
    for encoder, log in table.groupby("encoder"):
        loss, looks = log["loss"].dropna(), log["perplexity"].dropna()
        tenth = max(1, len(loss) // 10)
        lines.append(
            f"| {encoder} | {loss[:tenth].mean():.2f} | {loss[-tenth:].mean():.2f} "
            f"| {looks.iloc[0]:,.0f} | {looks.min():,.0f} |"
        )
        mean = loss.rolling(5, min_periods=1).mean()
        axes.plot(log["step"].loc[loss.index], mean, label=encoder)
    axes.set(xlabel="step", ylabel="loss per target token (mean of 5 steps)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(RESULTS / "pretraining.png", dpi=110)
    text = f"""# Every family on the shop's texts

`python -m benchmarks.pretraining --steps {steps} --reviews {reviews}`: the embedded shop's
products and its first {reviews:,} reviews; {steps} steps of {settings.pretrain.batch_size} rows of
at most {settings.corpus.max_length} tokens. Losses are means of the first and the last
tenth of the steps, perplexities of held-out documents; both are comparable along a row only.

| model | loss, start | loss, end | perplexity before | after |
|---|---|---|---|---|
{chr(10).join(lines)}

![losses](pretraining.png)
"""
    (RESULTS / "pretraining.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--reviews", type=int, default=500)
    parser.add_argument("--encoders", default=",".join(f"{SCRATCH}{name}" for name in FAMILIES))
    asked = parser.parse_args()
    settings = load_settings(asked.root / "params.yaml")
    file = RESULTS / "pretraining.csv"
    table = pd.read_csv(file) if file.exists() else pd.DataFrame({"encoder": []})
    for encoder in asked.encoders.split(","):
        fresh = train(encoder, asked.root, settings, asked.steps, asked.reviews)
        table = pd.concat([table[table["encoder"] != encoder], fresh], ignore_index=True)
        write(table, settings, asked.steps, asked.reviews)


if __name__ == "__main__":
    main()
