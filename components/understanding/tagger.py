"""A tagger of shoppers' messages: labelled parts, an intent and a language.

In: a message. Out: ``Tagged``. A pretrained encoder with its weights frozen reads the message; a
small bidirectional GRU over the states of its layers gives each token a label (BIO, Ramshaw and
Marcus 1995) and the message an intent and a language. Only the GRU is trained, on states that are
computed once, so training takes minutes on a CPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from components.arrays import FloatArray
from components.device import fast_at_bf16
from components.language.families import save_model
from components.language.prompts import read_prompts
from components.progress import progress
from components.understanding.spans import Span, Tagged
from components.understanding.utterances import INTENTS, LABELS, Utterance, same_length

OUTSIDE = 0
CLASSES = ["O", *(f"{place}-{label}" for label in LABELS for place in "BI")]
LONGEST = 384
"""Tokens of a message that are read: those of the longest that the API takes, in any script."""


class Heads(nn.Module):
    """What is trained: states (batch, tokens, width) → labels, intent and language."""

    def __init__(self, width: int, languages: int, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.dropped_of_text = nn.Dropout1d(dropout)
        self.narrow = nn.Linear(width, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.labels = nn.Linear(2 * hidden, len(CLASSES))
        self.intent = nn.Linear(4 * hidden, len(INTENTS))
        self.language = nn.Linear(4 * hidden, languages)

    def forward(
        self, states: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # The same inputs are dropped at all tokens of a text (Gal and Ghahramani 2016): to draw new
        # ones at each token took a third of the training's time.
        kept = self.dropped_of_text(states.new_ones(len(states), states.shape[2], 1))
        narrow = F.gelu(self.narrow(states * kept.transpose(1, 2)))
        packed = nn.utils.rnn.pack_padded_sequence(
            narrow, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        read, _ = nn.utils.rnn.pad_packed_sequence(
            self.gru(packed)[0], batch_first=True, total_length=states.shape[1]
        )
        read = self.dropout(read)
        there = mask.unsqueeze(-1)
        mean = (read * there).sum(1) / there.sum(1)
        most = read.masked_fill(~there, -1e4).max(1).values
        whole = torch.cat([mean, most], dim=1)
        return self.labels(read), self.intent(whole), self.language(whole)


class FrozenEncoder:
    """A pretrained encoder whose weights stay: texts → states of the tokens."""

    def __init__(self, folder: str | Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.prompts = read_prompts(str(folder))
        # On the CPU: a message takes it milliseconds, and on a GPU each process holds a context.
        dtype = torch.bfloat16 if fast_at_bf16(torch.device("cpu")) else torch.float32
        self.model = AutoModel.from_pretrained(folder, dtype=dtype).eval()
        depth = self.model.config.num_hidden_layers
        self.layers = (depth // 2, 3 * depth // 4, depth)
        self.width = len(self.layers) * self.model.config.hidden_size

    @torch.no_grad()
    def states(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """Return bfloat16 (texts, tokens, width), bool (texts, tokens) and the tokens' offsets."""
        encoded = self.tokenizer(
            _lower(texts),
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=LONGEST,
            return_offsets_mapping=True,
        )
        offsets = encoded.pop("offset_mapping").numpy()
        found = self.model(**encoded, output_hidden_states=True).hidden_states
        states = torch.cat([found[layer] for layer in self.layers], dim=-1)
        return states, encoded["attention_mask"].bool(), offsets

    def of_like_length(self, texts: Sequence[str], size: int) -> list[list[int]]:
        """Return the texts' places in groups of ``size``, by number of tokens: little padding."""
        if not texts:
            return []
        tokens = self.tokenizer(_lower(texts), return_length=True)["length"]
        order = sorted(range(len(texts)), key=tokens.__getitem__)
        return [order[at : at + size] for at in range(0, len(order), size)]

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> FloatArray:
        """Return float32 (texts, width) of length 1: the mean of the last layer over the tokens."""
        prompt = self.prompts.get("query", "")
        out = []
        for start in range(0, len(texts), 64):
            some = [prompt + text.lower() for text in texts[start : start + 64]]
            encoded = self.tokenizer(
                some, return_tensors="pt", padding=True, truncation=True, max_length=LONGEST
            )
            last = self.model(**encoded).last_hidden_state.float()
            there = encoded["attention_mask"].unsqueeze(-1).float()
            out.append(F.normalize((last * there).sum(1) / there.sum(1), dim=1).numpy())
        return (
            np.concatenate(out) if out else np.empty((0, self.model.config.hidden_size), np.float32)
        )

    def save(self, folder: Path) -> None:
        """Write encoder and tokenizer; the weights in bfloat16, half the size of float32."""
        dtype = self.model.dtype
        save_model(self.model.bfloat16(), self.tokenizer, folder, self.prompts)
        self.model.to(dtype)


def _lower(texts: Sequence[str]) -> list[str]:
    """Return the texts in lower case, each character at its place."""
    return [same_length(text, str.lower) for text in texts]


def classes_of(offsets: np.ndarray, spans: Sequence[tuple[int, int, str]]) -> np.ndarray:
    """Return int64 (tokens,): the class of each token. offsets: (tokens, 2), in characters."""
    out = np.zeros(len(offsets), dtype=np.int64)
    for start, stop, label in spans:
        inside = np.flatnonzero(
            (offsets[:, 0] < stop) & (offsets[:, 1] > start) & (offsets[:, 1] > offsets[:, 0])
        )
        out[inside] = CLASSES.index(f"I-{label}")
        out[inside[:1]] = CLASSES.index(f"B-{label}")
    return out


class Tagger:
    """Trained heads over a reader."""

    def __init__(self, reader: FrozenEncoder, languages: Sequence[str]) -> None:
        self.reader, self.languages = reader, list(languages)
        self.heads = Heads(reader.width, len(self.languages))

    def fit(
        self, utterances: Sequence[Utterance], epochs: int = 6, batch: int = 64, seed: int = 0
    ) -> list[float]:
        """Train the heads; return the mean loss of each epoch."""
        torch.manual_seed(seed)
        self.heads = Heads(self.reader.width, len(self.languages))
        batches = list(self._batches(utterances, batch))
        optimizer = torch.optim.AdamW(self.heads.parameters(), lr=2e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 2e-3, total_steps=epochs * len(batches)
        )
        random = np.random.default_rng(seed)
        losses = []
        self.heads.train()
        for _ in progress(range(epochs), desc="training the tagger", unit="epoch"):
            total = 0.0
            for at in random.permutation(len(batches)):
                states, mask, labels, intents, languages = batches[at]
                by_label, by_intent, by_language = self.heads(states.float(), mask)
                loss = (
                    F.cross_entropy(by_label[mask], labels[mask])
                    + 0.5 * F.cross_entropy(by_intent, intents, label_smoothing=0.05)
                    + 0.2 * F.cross_entropy(by_language, languages)
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
            losses.append(total / len(batches))
        self.heads.eval()
        return losses

    def _batches(self, utterances: Sequence[Utterance], size: int) -> Iterator[Any]:
        """Yield states, mask, classes, intents and languages of utterances of like length."""
        groups = self.reader.of_like_length([one.text for one in utterances], size)
        for group in progress(groups, desc="reading utterances", unit="batch"):
            some = [utterances[at] for at in group]
            states, mask, offsets = self.reader.states([one.text for one in some])
            labels = np.stack(
                [classes_of(places, one.spans) for places, one in zip(offsets, some, strict=True)]
            )
            yield (
                states,
                mask,
                torch.from_numpy(labels),
                torch.tensor([INTENTS.index(one.intent) for one in some]),
                torch.tensor([self.languages.index(one.language) for one in some]),
            )

    def tag_all(self, texts: Sequence[str], size: int = 64) -> list[Tagged]:
        """Return what each text says, in batches of ``size`` texts of like length."""
        groups = self.reader.of_like_length(texts, size)
        found: dict[int, Tagged] = {}
        for group in progress(groups, desc="tagging", unit="batch"):
            found |= zip(group, self.tag([texts[at] for at in group]), strict=True)
        return [found[at] for at in range(len(texts))]

    @torch.inference_mode()
    def tag(self, texts: Sequence[str]) -> list[Tagged]:
        """Return what each text says."""
        states, mask, offsets = self.reader.states(texts)
        by_label, by_intent, by_language = self.heads(states.float(), mask)
        labels = by_label.softmax(-1).numpy()
        intents = by_intent.softmax(-1).numpy()
        languages = by_language.argmax(-1).numpy()
        out = []
        for row, text in enumerate(texts):
            intent = int(intents[row].argmax())
            out.append(
                Tagged(
                    _spans(text, labels[row], offsets[row]),
                    INTENTS[intent],
                    float(intents[row, intent]),
                    self.languages[languages[row]],
                )
            )
        return out

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.heads.state_dict(), folder / "heads.safetensors")
        (folder / "tagger.json").write_text(json.dumps({"languages": self.languages}))

    @classmethod
    def load(cls, folder: Path, reader: FrozenEncoder) -> Tagger:
        tagger = cls(reader, json.loads((folder / "tagger.json").read_text())["languages"])
        tagger.heads.load_state_dict(load_file(folder / "heads.safetensors"))
        tagger.heads.eval()
        return tagger


_WORD = re.compile(r"[^\W\d_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")
"""A word in a script that separates words by blanks."""


def _spans(text: str, labels: np.ndarray, offsets: np.ndarray) -> list[Span]:
    """Return the labelled parts. A word has the label of its first token.

    labels: (tokens, classes), probabilities. offsets: (tokens, 2).
    """
    begins = {at: word.start() for word in _WORD.finditer(text) for at in range(*word.span())}
    spans: list[Span] = []
    word_starts, before = -1, OUTSIDE
    for token, (start, stop) in enumerate(offsets.tolist()):
        while start < stop and text[start].isspace():
            start += 1
        if stop <= start:
            continue
        within = begins.get(start, -1) == word_starts != -1 and begins[start] < start
        best = before if within else int(labels[token].argmax())
        word_starts, before = begins.get(start, -1), best
        if best == OUTSIDE:
            continue
        place, _, label = CLASSES[best].partition("-")
        sure = float(labels[token, best])
        last = spans[-1] if spans else None
        touches = last is not None and not text[last.stop : start].strip()
        if last and touches and last.label == label and (within or place == "I"):
            sure = last.sure if within else min(last.sure, sure)
            spans[-1] = Span(label, text[last.start : stop], last.start, stop, sure)
        else:
            spans.append(Span(label, text[start:stop], start, stop, sure))
    return spans
