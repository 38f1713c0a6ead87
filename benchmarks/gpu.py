"""A GPU against the CPU of the same machine: benchmarks/results/gpu.md.

    python -m benchmarks.gpu [--root .]

Needs a GPU, and data/prepared, data/valid and data/corpus (``bowerbird run``). Measured on the
embedded shop's tables, on each device in a process of its own, that of the CPU without the GPU:

pre-training    masked words and next sentences, tokens a second; steps of 32 and of 256 rows
fine-tuning     next product and retrieval, steps a second; of the head and of the whole encoder
encoding        texts a second, titles and reviews; batches of 2,048 and of 32,768 tokens
SASRec          seconds of an epoch; the shop, and ten of it, with ten times as many customers,
                events and products. The CPU trains on a part of the ten shops' customers, the
                whole catalogue among the negatives, and the time is scaled to all of them. Where
                there are several GPUs, ten shops on all of them too (benchmarks.processes).

The encoder is a BERT of the packaged one's size with random weights, the text vectors of SASRec are
random: neither changes the times. Memory is the most that PyTorch's tensors took on the GPU.

A GPU's libraries load and plan kernels for each new shape of a batch. On a GPU, all steps and texts
are therefore run once before they are timed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoConfig, AutoTokenizer, BertForPreTraining

from benchmarks import processes
from components.data.dataset import Interactions, item_text, load_prepared
from components.device import best_device, fast_at_bf16
from components.language.corpus import load_corpus
from components.language.encoder import TextEncoder, whitening
from components.language.families import save_model
from components.language.finetuning import NextProduct
from components.language.int8 import fits
from components.language.loop import train
from components.language.objectives import objective_of
from components.language.pretraining import step_losses
from components.language.ratings import review_texts
from components.language.retrieval import Retrieval
from components.recommenders.models.sasrec.network import Training
from components.settings import Settings, load_settings

PAGE = Path(__file__).parent / "results/gpu.md"
SIZE = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
SHOPS = 10
PART = 40
"""The CPU trains on every PART-th customer of the ten shops."""

Row = tuple[str, str, str, float]
"""What was measured, its unit, the precision, the value."""


class Side:
    """The measurements on one device: a GPU if the process sees one, else the CPU."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.device = root, folder, best_device()
        self.on_gpu = self.device.type == "cuda"
        self.settings = load_settings(root / "params.yaml")
        self.prepared = load_prepared(root / "data/prepared")
        self.corpus = load_corpus(root / "data/corpus")
        self.tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
        reviews = pd.read_parquet(root / "data/valid/reviews.parquet")
        self.texts = {
            "titles": item_text(self.prepared.catalogue.table),
            "reviews": review_texts(reviews)[: 20_000 if self.on_gpu else 2_000],
        }
        self.encoder = folder / "encoder"
        config = AutoConfig.for_model("bert", vocab_size=len(self.tokenizer), **SIZE)
        torch.manual_seed(0)
        save_model(BertForPreTraining(config), self.tokenizer, self.encoder)

    def rows(self) -> Iterator[Row]:
        """Yield what is measured, in the page's order."""
        precisions = ["fp32", "bf16"] if fast_at_bf16(self.device) else ["fp32"]
        for part in (self.pretraining, self.finetuning, self.encoding, self.sasrec):
            for precision in precisions:
                yield from part(precision)
        if not self.on_gpu and fits(TextEncoder(self.encoder, precision="fp32").model):
            yield from self.encoding("int8")

    def pretraining(self, precision: str) -> Iterator[Row]:
        settings = with_encoder(self.settings, self.encoder)
        objective = objective_of(settings, self.corpus, self.tokenizer, held_out=False)
        for size in (32, 256):
            model = BertForPreTraining.from_pretrained(self.encoder).to(self.device)
            steps = self.steps_a_second(
                model,
                lambda step, model=model, size=size: step_losses(
                    model, objective, step, size, 1, (0, 1)
                ),
                precision,
            )
            drawn = [objective.draw(step, size)["attention_mask"].sum() for step in range(8)]
            tokens = float(np.mean(drawn))
            yield f"pre-training, {size} rows a step", "tokens/s", precision, steps * tokens

    def finetuning(self, precision: str) -> Iterator[Row]:
        s = self.settings.finetune
        encoder = TextEncoder(self.encoder, self.settings.encode.max_length, training=True)
        vectors = encoder.encode(self.texts["titles"], with_head=False)
        encoder.head = whitening(vectors).to(self.device)
        learned = self.prepared.interactions.split("train")
        products = NextProduct(encoder, self.texts["titles"], vectors, learned, s, 0)
        known = [self.texts["titles"][n] for n in products.known]
        search = Retrieval(encoder, known, s.negatives, 0)

        def losses(step: int, size: int, whole: bool) -> dict[str, torch.Tensor]:
            bought = products.loss(step) if whole else products.head_loss(step)  # renews the bank
            found = search.loss(products.bank, s.temperature, step, size, whole)
            return {"next_product": bought, "retrieval": found}

        rate = self.steps_a_second(
            encoder.head, lambda step: losses(step, s.batch_size, False), precision
        )
        yield "fine-tuning, head", "steps/s", precision, rate
        both = torch.nn.ModuleDict({"model": encoder.model, "head": encoder.head})
        rate = self.steps_a_second(both, lambda step: losses(step, s.queries, True), precision)
        yield "fine-tuning, encoder", "steps/s", precision, rate

    def steps_a_second(
        self, model: torch.nn.Module, losses: Callable[[int], object], precision: str
    ) -> float:
        # On a GPU the untimed steps are the timed ones, so that no shape of a batch is new.
        warm, steps = (60, 60) if self.on_gpu else (2, 6)
        both, marks = warm + steps, []

        def watched(step: int) -> object:
            marks.append(self.now())
            return losses(step % steps)

        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            train(
                model, watched, both, 1e-5, Path(folder) / "kept", "", both, "steps",
                precision=precision,
            )  # fmt: skip
        return steps / (self.now() - marks[warm])

    def encoding(self, precision: str) -> Iterator[Row]:
        for tokens in (2048, 32768) if self.on_gpu else (2048,):
            encoder = TextEncoder(
                self.encoder, self.settings.encode.max_length, tokens, precision=precision
            )
            for name, texts in self.texts.items():
                encoder.encode(texts if self.on_gpu else texts[:500])  # warm
                seconds = []
                for _ in range(3):
                    start = self.now()
                    encoder.encode(texts)
                    seconds.append(self.now() - start)
                what = f"encoding {name}" + (f", {tokens:,} tokens a batch" * (tokens > 2048))
                yield what, "texts/s", precision, len(texts) / min(seconds)

    def sasrec(self, precision: str) -> Iterator[Row]:
        learned = self.prepared.interactions.split("train")
        for shops in (1, SHOPS):
            data = processes.copies(learned, shops)
            part = PART if shops > 1 and not self.on_gpu else 1
            random = np.random.default_rng(0)
            text = random.normal(size=(data.n_items, SIZE["hidden_size"])).astype(np.float32)
            text /= np.linalg.norm(text, axis=1, keepdims=True)
            some = data.where(data.users % part == 0)
            seconds = [self.fit(some, text, precision, epochs) for epochs in (1, 2)]
            what = "SASRec, the shop" if shops == 1 else f"SASRec, {shops} shops"
            yield what, "s/epoch", precision, (seconds[1] - seconds[0]) * part
        gpus = torch.cuda.device_count()
        if self.on_gpu and gpus > 1:
            found = processes.measure(self.root, gpus, SHOPS, 2, precision)
            yield f"SASRec, {SHOPS} shops, {gpus} GPUs", "s/epoch", precision, found.epoch

    def fit(self, data: Interactions, text: np.ndarray, precision: str, epochs: int) -> float:
        section = self.settings.train.sequential.model_copy(update={"epochs": epochs})
        training = Training(section)
        training.fast = precision == "bf16"
        start = self.now()
        training.run(data, text)
        return self.now() - start

    def now(self) -> float:
        """Return the time in seconds, after all that was sent to the GPU."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def with_encoder(settings: Settings, folder: Path) -> Settings:
    section = settings.pretrain.model_copy(update={"encoder": str(folder)})
    return settings.model_copy(update={"pretrain": section})


def measure(root: Path, out: Path) -> None:
    """Write the rows of this process's device, with the GPU memory of each, to ``out``."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        side = Side(root, Path(folder))
        rows = side.rows()
        while True:
            if side.on_gpu:
                torch.cuda.reset_peak_memory_stats()
            row = next(rows, None)
            if row is None:
                break
            here = side.on_gpu and not row[0].endswith("GPUs")  # else in other processes
            memory = torch.cuda.max_memory_allocated() / 2**30 if here else np.nan
            found.append((*row, memory))
            print(side.device.type, *row, f"{memory:.2f} GiB", flush=True)
    table = pd.DataFrame(found, columns=["what", "unit", "precision", "value", "memory"])
    table.to_csv(out, index=False)


def page(cpu: pd.DataFrame, gpu: pd.DataFrame, facts: str) -> str:
    """Return the page. cpu, gpu: the rows of each, columns what, unit, precision, value, memory."""
    lines = []
    for (what, unit), rows in gpu.groupby(["what", "unit"], sort=False):
        # The CPU's batches are of 2,048 tokens, which suit its caches.
        theirs = cpu[cpu["what"] == re.sub(r", (32,768 .*|\d+ GPUs)$", "", what)]
        by_cpu = theirs.set_index("precision")["value"]
        by_gpu = rows.set_index("precision")["value"]
        best = (by_cpu.min(), by_gpu.min()) if unit == "s/epoch" else (by_gpu.max(), by_cpu.max())
        cells = [shown(by_cpu.get(one)) for one in ("fp32", "bf16", "int8")]
        cells += [shown(by_gpu.get(one)) for one in ("fp32", "bf16")]
        memory = " / ".join("–" if np.isnan(one) else f"{one:.2f}" for one in rows["memory"])
        lines.append(
            f"| {what} | {unit} | {' | '.join(cells)} | {best[0] / best[1]:.1f} | {memory} |"
        )
    return f"""# A GPU against the CPU

Made by `python -m benchmarks.gpu`, whose docstring gives the protocol. {facts}
GPU : CPU compares the best precision of each; the memory is that of fp32 / bf16.

| | | CPU fp32 | CPU bf16 | CPU int8 | GPU fp32 | GPU bf16 | GPU : CPU | GPU memory, GiB |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}
"""


def shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def processor() -> str:
    """Return the CPU's name and number of cores."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(os.sched_getaffinity(0))} cores ({names[0]})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--out", type=Path, help="write only the rows of this process's device")
    asked = parser.parse_args()
    if asked.out:
        measure(asked.root, asked.out)
        return
    if not torch.cuda.is_available():
        sys.exit("benchmarks.gpu: this machine has no GPU that PyTorch can use")
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for seen in ({}, {"CUDA_VISIBLE_DEVICES": ""}):
            out = Path(folder) / f"rows{len(tables)}.csv"
            command = ["-m", "benchmarks.gpu", "--root", str(asked.root), "--out", str(out)]
            subprocess.run([sys.executable, *command], env={**os.environ, **seen}, check=True)
            tables.append(pd.read_csv(out))
    gpu, cpu = tables
    facts = (
        f"One {torch.cuda.get_device_name()} against {processor()}; PyTorch {torch.__version__}."
    )
    PAGE.write_text(page(cpu, gpu, facts))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
