"""Does the writer invent, how much of it is dropped, how long does it take, what memory?

    python -m benchmarks.writer [--model models/hybrid] [--answers 500] [--root .]

SmolLM2-135M-Instruct words the first three proposals of 500 answers of the conversation over the
embedded shop: the 40 needs of ``benchmarks/conversation.py`` and messages made of the shop's
categories. Three things are measured.

- What passes: each sentence goes through ``serving/conversation/claims.py``, then what passed is
  judged by ``invented.py``, an independent rule on the plain text. Its power is its share of
  findings among the sentences that were dropped. A sentence is shortened if only its beginning,
  up to a comma, passed.
- Hostile sentences (``sentences.py``): made of other products' facts, promises, markup and so on;
  and true ones.
- Time of 10 whole answers through ``worded``, and memory of an endpoint with and without writer.

The texts are generated in batches, greedily, as ``LocalWriter`` generates them one by one; the
report says how many of those 10 answers are the same in both. They are stored in
``var/writer-benchmark``, where a run that was stopped goes on; what is stored is judged again by
every run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.conversation import NEEDS
from benchmarks.needs.systems import K
from benchmarks.serving import Service
from benchmarks.writer.invented import invented, title_runs
from benchmarks.writer.sentences import hostile, true
from components.language.packaged import WRITERS, packaged_folder
from components.language.writer import LocalWriter
from serving.conversation.claims import Facts, true_part
from serving.conversation.dialogue import Conversation
from serving.conversation.generation import DESCRIBED, SENTENCES, sentences_of, worded
from serving.conversation.prompts import messages_about
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.search import Search

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "benchmarks/results"
[WRITER] = WRITERS
TIMED = 10
"""Answers whose time is measured."""
BATCH = 48
TOKENS = 60
TEMPLATES = (
    "{detail} {thing}",
    "a {thing} under £{limit}",
    "I need a {thing}, not {detail}",
    "{thing} for a child up to £{limit}",
    "something for my mum with {detail}, around £{limit}",
    "show me {detail} {thing} for less than {limit} pounds",
    "a gift for him, {thing}, no {detail}",
)
DETAILS = [
    "red",
    "blue",
    "pink",
    "white",
    "wooden",
    "glass",
    "metal",
    "vintage",
    "small",
    "green",
    "silver",
    "ceramic",
]
LIMITS = (1, 2, 3, 5, 8, 10, 15)

Product = dict[str, Any]


@dataclass
class Answer:
    """A reply of the conversation: its text and its proposals."""

    message: str
    text: str
    items: list[Product] = field(default_factory=list)

    @property
    def described(self) -> list[Product]:
        return self.items[:DESCRIBED]


def messages(engine: Engine, n: int) -> list[str]:
    """Return ``n`` different messages."""
    drawn = random.Random(1)
    things = [name.lower() for name, _ in engine.category_names()][:150]
    found = dict.fromkeys(need.message for need in NEEDS)
    while len(found) < n:
        template = drawn.choice(TEMPLATES)
        detail, thing = drawn.choice(DETAILS), drawn.choice(things)
        limit = drawn.choice(LIMITS)
        found[template.format(detail=detail, thing=thing, limit=limit)] = None
    return list(found)[:n]


def answers_of(folder: Path, engine: Engine, n: int) -> list[Answer]:
    """Return the conversation's answers to ``n`` messages of an unknown shopper."""
    search = Search.load(folder, engine.model.catalogue.table, engine.vectors)
    conversation = Conversation(engine, search)
    nobody = History(np.empty(0, np.int32), np.empty(0, np.int64))
    found = []
    for message in messages(engine, n):
        reply = conversation.reply(message, None, nobody, K)
        pairs = zip(reply.items, reply.reasons, strict=True)
        items = [{**engine.describe(code), "reason": reason} for code, reason in pairs]
        found.append(Answer(message, reply.text, items))
    return found


def prompt_of(product: Product) -> str:
    """Return what of a prompt is about its product."""
    return messages_about(product, "en")[-1]["content"]


def texts_stored(store: Path) -> dict[str, str]:
    """Return the model's texts of former runs by ``prompt_of``."""
    stored = store / "texts.jsonl"
    lines = stored.read_text(encoding="utf-8").splitlines() if stored.exists() else []
    return {one["prompt"]: one["text"] for one in map(json.loads, lines)}


def texts_of(answers: list[Answer], writer: LocalWriter, store: Path) -> dict[str, str]:
    """Return the model's text by ``prompt_of``; stored ones are not generated again."""
    stored = store / "texts.jsonl"
    texts = texts_stored(store)
    products = {prompt_of(one): one for answer in answers for one in answer.described}
    missing = [prompt for prompt in products if prompt not in texts]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        written = generated(writer, [messages_about(products[one], "en") for one in batch])
        with stored.open("a", encoding="utf-8") as file:
            for prompt, text in zip(batch, written, strict=True):
                file.write(json.dumps({"prompt": prompt, "text": text}) + "\n")
        texts |= zip(batch, written, strict=True)
        print(f"{start + len(batch)} of {len(missing)} texts", flush=True)
    return texts


def generated(writer: LocalWriter, chats: list[list[dict[str, str]]]) -> list[str]:
    """Return the texts for chats that differ in their last message only, generated together."""
    import torch
    from transformers import DynamicCache, StoppingCriteriaList

    prompts = [writer.prompt(chat)["input_ids"][0] for chat in chats]
    same = [len({int(one) for one in tokens}) == 1 for tokens in zip(*prompts, strict=False)]
    shared = next((at for at, one in enumerate(same) if not one), len(same) - 1)
    model = writer.model

    def written(ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        texts = writer.tokenizer.batch_decode(ids[:, longest:])
        ended = [len(re.findall(r"[.!?]\s", text)) >= SENTENCES for text in texts]
        return torch.tensor(ended, device=ids.device)

    with torch.inference_mode():
        cache = DynamicCache(config=model.config)
        model(prompts[0][None, :shared], cache=cache)
        cache.batch_repeat_interleave(len(prompts))
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), writer.tokenizer.eos_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            # The padding is between what they share and what differs.
            ids[row, :shared], mask[row, :shared] = prompt[:shared], 1
            own = len(prompt) - shared
            ids[row, longest - own :], mask[row, longest - own :] = prompt[shared:], 1
        found = model.generate(
            input_ids=ids,
            attention_mask=mask,
            cache=cache,
            max_new_tokens=TOKENS,
            do_sample=False,
            pad_token_id=writer.tokenizer.eos_token_id,
            stopping_criteria=StoppingCriteriaList([written]),
        )
    return writer.tokenizer.batch_decode(found[:, longest:], skip_special_tokens=True)


@dataclass
class Judged:
    """What became of the texts' sentences. sent: with the product."""

    counts: Counter[str] = field(default_factory=Counter)
    sent: list[tuple[str, Product]] = field(default_factory=list)
    dropped: list[tuple[str, Product]] = field(default_factory=list)
    without: int = 0
    """Answers without any sentence of the writer."""


def judge(answers: list[Answer], texts: dict[str, str]) -> Judged:
    """Return what ``claims`` makes of the texts, as ``worded`` does it."""
    judged = Judged()
    for answer in answers:
        before = len(judged.sent)
        for product in answer.described:
            facts, named = Facts(product, "en"), False
            found = sentences_of(iter([texts[prompt_of(product)]]))
            for _, sentence in zip(range(SENTENCES), found, strict=False):
                sent = true_part(sentence, facts, named)
                named = bool(sent)
                if sent:
                    kind = "said" if sent == sentence else "shortened"
                    judged.sent.append((sent, product))
                else:
                    kind = "dropped"
                    judged.dropped.append((sentence, product))
                judged.counts[kind] += 1
        judged.without += len(judged.sent) == before
    return judged


def hostile_and_true(answers: list[Answer]) -> dict[str, Any]:
    """Return how many hostile sentences were dropped, by kind, and true ones sent."""
    products = list({one["title"]: one for answer in answers for one in answer.described}.values())
    made, passed, kept = Counter[str](), Counter[str](), Counter[bool]()
    for product, other in zip(products, [*products[1:], products[0]], strict=True):
        # Two products of this shop differ in a blank of their titles only.
        titles = [re.sub(r"\W", "", one["title"].lower()) for one in (product, other)]
        if titles[0] in titles[1] or titles[1] in titles[0] or product["price"] == other["price"]:
            continue
        facts = Facts(product, "en")
        for kind, sentence in hostile(product, other):
            made[kind] += 1
            passed[kind] += facts.support(sentence, False)
        for sentence in true(product):
            kept[facts.support(sentence, False)] += 1
    return {"products": len(products), "made": made, "passed": passed, "kept": kept}


class Timed:
    """A writer that counts the tokens' pieces and keeps what was written."""

    def __init__(self, writer: LocalWriter) -> None:
        self._writer = writer
        self.timeout, self.languages = 600.0, writer.languages
        self.written: list[str] = []
        self.pieces = 0

    def write(self, chat: Any, seconds: float) -> Any:
        self.written.append("")
        for piece in self._writer.write(chat, seconds):
            self.written[-1] += piece
            self.pieces += 1
            yield piece


def timed(answers: list[Answer], texts: dict[str, str], writer: LocalWriter) -> dict[str, Any]:
    """Return seconds of ``TIMED`` answers, and how many are as their texts."""
    first, whole, same = [], [], 0
    spread = answers[:: max(1, len(answers) // TIMED)][:TIMED]
    pieces = 0
    for answer in spread:
        watched = Timed(writer)
        began = time.perf_counter()
        times = [time.perf_counter() - began for _ in worded(watched, answer.text, answer.items)]
        whole.append(time.perf_counter() - began)
        pieces += watched.pieces
        first.append(times[1] if len(times) > 1 else whole[-1])
        stored = [texts[prompt_of(one)] for one in answer.described]
        pairs = zip(watched.written, stored, strict=True)
        # Each generation ends a little after the last sentence that is used.
        same += all(a.startswith(b) or b.startswith(a) for a, b in pairs)
    return {
        "first p50": float(np.median(first)),
        "first p95": float(np.quantile(first, 0.95)),
        "whole p50": float(np.median(whole)),
        "whole p95": float(np.quantile(whole, 0.95)),
        "pieces a second": pieces / sum(whole),
        "answers": len(spread),
        "same": same,
        "load": os.getloadavg()[0],
        "dtype": str(writer.model.dtype).removeprefix("torch."),
    }


def memory(models: Path) -> dict[str, float]:
    """Return the megabytes of endpoints (proportional set size) without and with writer."""
    found = {}
    for writer in ("", WRITER):
        with tempfile.TemporaryDirectory(prefix="bowerbird-writer-") as name:
            root = Path(name)
            (root / "models").symlink_to(models.resolve())
            (root / "var").mkdir()
            (root / "var/models").symlink_to((REPOSITORY / "var/models").resolve())
            text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
            params = text.replace('  writer: ""', f'  writer: "{writer}"')
            (root / "params.yaml").write_text(params, encoding="utf-8")
            service = Service(root)
            try:
                address = f"http://127.0.0.1:{service.port}/conversation"
                for _ in range(3):
                    body = {"message": "a red mug", "k": 5}
                    httpx.post(address, json=body, timeout=120).raise_for_status()
                found[writer] = service.megabytes()
            finally:
                service.stop()
    return {"without": found[""], "with": found[WRITER]}


def report(
    judged: Judged,
    answers: list[Answer],
    asked: int,
    catalogue: set[str],
    attacks: dict[str, Any],
    times: dict[str, Any],
    megabytes: dict[str, float],
) -> str:
    """Return the page."""
    counts, n = judged.counts, sum(judged.counts.values())
    wrong = [(one, found) for one, of in judged.sent if (found := invented(one, of, catalogue))]
    flagged = sum(bool(invented(one, of, catalogue)) for one, of in judged.dropped)
    made, passed, kept = attacks["made"], attacks["passed"], attacks["kept"]
    lines = [
        "# The writer: what a model of 135 million parameters adds to answers",
        "",
        "`python -m benchmarks.writer`; protocol in the module's docstring.",
        "",
        f"{len(answers)} of {asked} answers, {n:,} sentences of {WRITER} about their first "
        f"{DESCRIBED} proposals:",
        "",
        "| sentences | share |",
        "|---|---|",
        *(f"| {kind} | {counts[kind] / n:.1%} |" for kind in ("said", "shortened", "dropped")),
        "",
        f"- Invented facts that passed, by the independent rule: {len(wrong)} in "
        f"{len(judged.sent):,} sentences sent. The rule finds something in "
        f"{flagged / max(1, len(judged.dropped)):.0%} of the dropped ones.",
        f"- Answers without any sentence of the writer: {judged.without}. Every answer begins with "
        "its template.",
        f"- Hostile sentences that passed: {sum(passed.values())} of {sum(made.values()):,} about "
        f"{attacks['products']:,} products. True sentences that passed: {kept[True]:,} of "
        f"{kept.total():,}.",
        "",
        "## Time and memory",
        "",
        f"{times['answers']} answers, one at a time, {os.cpu_count()} cores, load average "
        f"{times['load']:.1f} (other work ran on them), {times['dtype']}:",
        "",
        "| seconds | p50 | p95 |",
        "|---|---|---|",
        "| to the template | 0.00 | 0.00 |",
        f"| to the first sentence of the writer | {times['first p50']:.1f} "
        f"| {times['first p95']:.1f} |",
        f"| whole answer, {DESCRIBED} products | {times['whole p50']:.1f} "
        f"| {times['whole p95']:.1f} |",
        "",
        f"{times['pieces a second']:.1f} pieces (tokens, about) a second; {times['same']} of "
        f"{times['answers']} answers are the same, token for token, as generated in batches.",
        "",
        f"Memory of the endpoint's processes (proportional set size): {megabytes['without']:,.0f} "
        f"MB with templates, {megabytes['with']:,.0f} MB with the writer in process.",
        "",
        "## Hostile sentences by kind",
        "",
        "| kind | made | passed |",
        "|---|---|---|",
        *(f"| {kind} | {count:,} | {passed[kind]} |" for kind, count in sorted(made.items())),
        "",
    ]
    if wrong:
        lines += ["## Invented", "", *(f"- {one} ({', '.join(of)})" for one, of in wrong), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/hybrid"))
    parser.add_argument("--answers", type=int, default=500)
    help_ = "generate nothing: only the answers whose texts former runs stored"
    parser.add_argument("--stored", action="store_true", help=help_)
    arguments = parser.parse_args()
    store = Path("var/writer-benchmark")
    store.mkdir(parents=True, exist_ok=True)
    engine = Engine.load(arguments.model, "benchmark")
    writer = LocalWriter(packaged_folder(WRITER), TOKENS)
    answers = answers_of(arguments.model, engine, arguments.answers)
    if arguments.stored:
        texts = texts_stored(store)
        answers = [one for one in answers if all(prompt_of(of) in texts for of in one.described)]
    else:
        texts = texts_of(answers, writer, store)
    judged = judge(answers, texts)
    times = timed(answers, texts, writer)
    catalogue = title_runs(engine.titles)
    attacks = hostile_and_true(answers)
    megabytes = memory(arguments.model.parent)
    page = report(judged, answers, arguments.answers, catalogue, attacks, times, megabytes)
    (RESULTS / "writer.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
