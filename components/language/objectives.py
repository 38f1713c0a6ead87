"""The pre-training objective of BERT: batches of sentence pairs with masked words, and their loss.

Devlin et al., NAACL 2019: masked language modelling (here of whole words) and next sentence
prediction. A batch is a function of (seed, step), so a resumed run sees what it would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from components.language.corpus import Corpus

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """ids, segments, attention, labels: int64 (batch, length). follows: int64 (batch,), 0 if the
    second sentence follows the first, 1 if not (BERT's coding), IGNORED without a second one."""

    ids: torch.Tensor
    segments: torch.Tensor
    attention: torch.Tensor
    labels: torch.Tensor
    follows: torch.Tensor


class Batches:
    """Draws batches from the documents of a corpus.

    documents: int64, which documents to draw from. special: ids of [CLS], [SEP], [PAD], [MASK].
    continues: bool (vocabulary,), true for pieces that continue a word.
    """

    def __init__(
        self,
        corpus: Corpus,
        documents: np.ndarray,
        special: tuple[int, int, int, int],
        continues: np.ndarray,
        max_length: int,
        mask_probability: float,
        pairs: bool,
        seed: int,
    ) -> None:
        self.corpus, self.documents, self.continues = corpus, documents, continues
        self.cls, self.sep, self.pad, self.mask = special
        self.max_length, self.mask_probability = max_length, mask_probability
        self.pairs, self.seed = pairs, seed

    def draw(self, step: int, size: int) -> Batch:
        """Return batch number ``step`` of ``size`` documents."""
        random = np.random.default_rng([self.seed, step])
        rows, followed = [], []
        for document in random.choice(self.documents, size):
            first, second, label = self._pair(int(document), random)
            rows.append((first, second))
            followed.append(label)
        length = max(len(first) + len(second) + 2 + bool(len(second)) for first, second in rows)
        ids = np.full((size, length), self.pad, dtype=np.int64)
        segments = np.zeros_like(ids)
        labels = np.full_like(ids, IGNORED)
        for row, (first, second) in enumerate(rows):
            text = np.concatenate([[self.cls], first, [self.sep], second])
            if len(second):
                text = np.append(text, self.sep)
                segments[row, len(first) + 2 : len(text)] = 1
            masked, label = self.masked(text, random)
            ids[row, : len(text)] = masked
            labels[row, : len(text)] = label
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(segments),
            torch.from_numpy((ids != self.pad).astype(np.int64)),
            torch.from_numpy(labels),
            torch.tensor(followed),
        )

    def _pair(
        self, document: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return two sentences, and whether the second follows in the document (0) or not (1)."""
        low, high = self.corpus.documents[document], self.corpus.documents[document + 1]
        half = self.max_length // 2
        at = int(random.integers(low, high))
        if not self.pairs or high - low < 2:
            # A product that is only a title has no second sentence: it teaches words alone.
            return self.corpus.sentence(at)[: self.max_length - 2], np.empty(0, np.int32), IGNORED
        at = int(random.integers(low, high - 1))
        follows, other = at + 1, int(random.choice(self.documents))
        label = int(random.random() < 0.5 and other != document)
        if label:
            follows = int(
                random.integers(self.corpus.documents[other], self.corpus.documents[other + 1])
            )
        return (
            self.corpus.sentence(at)[: half - 2],
            self.corpus.sentence(follows)[: half - 1],
            label,
        )

    def masked(self, ids: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return ids with whole words masked, and the labels (IGNORED where nothing is asked).

        Of the chosen pieces 80 % become [MASK], 10 % a random piece, 10 % stay.
        """
        plain = ~np.isin(ids, (self.cls, self.sep, self.pad))
        starts = plain & ~self.continues[ids]
        word = np.cumsum(starts)
        words = np.unique(word[plain])
        n = max(1, round(self.mask_probability * len(words)))
        chosen = plain & np.isin(word, random.choice(words, min(n, len(words)), replace=False))
        fate = random.random(len(ids))
        out = np.where(chosen & (fate < 0.8), self.mask, ids)
        noise = random.integers(0, len(self.continues), len(ids))
        out = np.where(chosen & (fate >= 0.8) & (fate < 0.9), noise, out)
        return out, np.where(chosen, ids, IGNORED)


def losses(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean losses of BertForPreTraining: masked words, next sentence."""
    hidden = model.bert(
        input_ids=batch.ids, token_type_ids=batch.segments, attention_mask=batch.attention
    )
    asked = batch.labels != IGNORED
    # The head is wide: only the asked places go through it.
    logits = model.cls.predictions(hidden.last_hidden_state[asked])  # (asked, vocabulary)
    mlm = F.cross_entropy(logits.float(), batch.labels[asked])
    if not (batch.follows != IGNORED).any():
        return mlm, torch.zeros(())
    follows = model.cls.seq_relationship(hidden.pooler_output)  # (batch, 2)
    return mlm, F.cross_entropy(follows.float(), batch.follows, ignore_index=IGNORED)
