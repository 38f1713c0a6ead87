"""Pre-training objectives of the model families: batches drawn from the corpus, and their losses.

    Masked          masked words, with dynamic masking (RoBERTa: Liu et al. 2019)
    MaskedPairs     masked words and next sentence prediction (BERT: Devlin et al., NAACL 2019)
    Causal          the next token from those before it (GPT: Radford et al. 2018)
    Permutation     permuted word order, each word from those before it in the permutation (XLNet:
                    Yang et al., NeurIPS 2019)

A batch is a function of (seed, step), so a resumed run sees the same batches. It is a dict of
tensors whose first dimension is the row, so that rows can be distributed over micro-batches and
processes. Losses are sums over the targets (labels that are not IGNORED), and ``target_counts``
returns the number of targets, so the parts add up to the loss of the whole batch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from components.arrays import AnyArray, BoolArray, Int64Array, IntArray
from components.language.corpus import Corpus
from components.language.families import FAMILIES, family_of
from components.settings import Settings

IGNORED = -100
Batch = dict[str, torch.Tensor]


class Texts:
    """Sampler of text spans from the documents of a corpus, arranged in rows.

    documents: int64, the documents to draw from. max_length: of a row, with its special tokens.
    loss: name of the loss over ``labels``.
    """

    loss: str

    def __init__(
        self,
        corpus: Corpus,
        documents: IntArray,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        mask_probability: float,
        seed: int,
    ) -> None:
        self.corpus, self.documents, self.tokenizer = corpus, documents, tokenizer
        self.sentences = np.asarray(corpus.sentences)
        self.bounds = np.asarray(corpus.documents)
        self.max_length, self.mask_probability, self.seed = max_length, mask_probability, seed

    def only(self, documents: IntArray) -> Self:
        """Return the same objective over other documents of the corpus."""
        part = copy.copy(self)
        part.documents = documents
        return part

    def target_counts(self, batch: Batch) -> dict[str, int]:
        """Return the number of targets in ``batch``, by loss."""
        return {self.loss: int((batch["labels"] != IGNORED).sum())}

    def random(self, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step])

    def spans(
        self, size: int, max_tokens: int, random: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        """Return start and length int64 (size,) of spans that begin with a sentence, within its
        document and of at most ``max_tokens`` tokens."""
        document = random.choice(self.documents, size)
        low, high = self.bounds[document], self.bounds[document + 1]
        start = self.sentences[random.integers(low, high)]
        return start, np.minimum(self.sentences[high] - start, max_tokens)

    def rows(self, *parts: int | tuple[Int64Array, Int64Array]) -> tuple[Int64Array, ...]:
        """Return ids, word and attention int64 (batch, length) of rows made of ``parts``.

        A part is the id of a special token, or start and length of a text in each row. A special
        token after an empty text is omitted, unless it is the first text. word: the number (from 1)
        of the token's word in the row, 0 for special tokens and padding.
        """
        size = next(len(part[0]) for part in parts if not isinstance(part, int))
        lengths = [
            np.ones(size, dtype=np.int64) if isinstance(part, int) else part[1] for part in parts
        ]
        texts = np.cumsum([not isinstance(part, int) for part in parts])
        for place in range(1, len(parts)):
            if isinstance(parts[place], int) and texts[place] > 1:
                last = max(n for n in range(place) if not isinstance(parts[n], int))
                lengths[place] = np.minimum(lengths[last], 1)
        offset = np.cumsum([np.zeros(size, dtype=np.int64), *lengths], axis=0)
        pad = self.tokenizer.pad_token_id
        ids = np.full((size, int(offset[-1].max())), pad, dtype=np.int64)
        plain, starts = np.zeros((2, *ids.shape), dtype=bool)
        for part, length, at in zip(parts, lengths, offset[:-1], strict=True):
            row = np.repeat(np.arange(size), length)
            within = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
            column = at[row] + within
            if isinstance(part, int):
                ids[row, column] = part
            else:
                taken = part[0][row] + within
                ids[row, column] = self.corpus.tokens[taken]
                starts[row, column] = self.corpus.starts[taken] | (within == 0)
                plain[row, column] = True
        attention = np.arange(ids.shape[1]) < offset[-1][:, None]
        return ids, np.cumsum(starts, axis=1) * plain, attention.astype(np.int64)

    def words(self, word: IntArray, random: np.random.Generator) -> BoolArray:
        """Return bool (batch, length): the tokens of words drawn with ``mask_probability``.

        Whole words are drawn: that share of each row's words, at least one.
        """
        count = word.max(axis=1)
        wanted = np.minimum(np.maximum(1, np.rint(self.mask_probability * count)), count)
        key = random.random((len(word), int(count.max(initial=0)) + 1))
        key[(np.arange(key.shape[1]) > count[:, None]) | (np.arange(key.shape[1]) == 0)] = np.inf
        chosen = key.argsort(axis=1).argsort(axis=1) < wanted[:, None]
        return (word > 0) & np.take_along_axis(chosen, word, axis=1)

    def masked(
        self, ids: IntArray, chosen: BoolArray, random: np.random.Generator
    ) -> tuple[Int64Array, Int64Array]:
        """Return ids with the chosen tokens masked, and labels (IGNORED for other tokens).

        Of the chosen tokens 80 % become the mask, 10 % a random token, 10 % are unchanged.
        """
        fate = random.random(ids.shape)
        out = np.where(chosen & (fate < 0.8), self.tokenizer.mask_token_id, ids)
        noise = random.integers(0, len(self.tokenizer), ids.shape)
        out = np.where(chosen & (fate >= 0.8) & (fate < 0.9), noise, out)
        return out, np.where(chosen, ids, IGNORED)


class Masked(Texts):
    """Masked language modelling over spans of text, with dynamic masking."""

    loss = "mlm"

    def draw(self, step: int, size: int) -> Batch:
        """Return batch number ``step`` of ``size`` rows."""
        random, t = self.random(step), self.tokenizer
        text = self.spans(size, self.max_length - 2, random)
        ids, word, attention = self.rows(t.cls_token_id, text, t.sep_token_id)
        ids, labels = self.masked(ids, self.words(word, random), random)
        return _tensors(input_ids=ids, attention_mask=attention, labels=labels)

    def losses(self, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the sum of each loss over the targets of ``batch``."""
        hidden = model.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        return {self.loss: _cross_entropy(model.lm_head, hidden, batch["labels"])}


class MaskedPairs(Texts):
    """Masked language modelling and next sentence prediction over pairs of sentences.

    follows: 0 if the second sentence follows the first in its document, 1 if it is from another
    document (BERT's coding), IGNORED without a second sentence. wanted: the losses, of mlm and nsp.
    """

    loss = "mlm"

    def __init__(self, *args: Any, wanted: Sequence[str]) -> None:
        super().__init__(*args)
        self.wanted = wanted
        self.paired = self._paired()

    def _paired(self) -> IntArray:
        # A product with only a title has no second sentence: it is used for masked words only. As
        # the second of a pair it would reveal the label.
        return self.documents[np.diff(self.bounds)[self.documents] > 1]

    def only(self, documents: IntArray) -> Self:
        """Return the same objective over other documents of the corpus."""
        part = super().only(documents)
        part.paired = part._paired()
        return part

    def draw(self, step: int, size: int) -> Batch:
        """Return batch number ``step`` of ``size`` rows."""
        random, t = self.random(step), self.tokenizer
        document = random.choice(self.documents, size)
        low, high = self.bounds[document], self.bounds[document + 1]
        pair = (high - low > 1) & ("nsp" in self.wanted)
        first = random.integers(low, np.where(pair, high - 1, high))
        other = random.choice(self.paired if len(self.paired) else self.documents, size)
        unlike = pair & (other != document) & (random.random(size) < 0.5)
        second = np.minimum(
            np.where(
                unlike, random.integers(self.bounds[other], self.bounds[other + 1]), first + 1
            ),
            len(self.sentences) - 2,
        )
        length = np.diff(self.sentences)
        longest = np.where(pair, self.max_length // 2 - 2, self.max_length - 2)
        one = self.sentences[first], np.minimum(length[first], longest)
        two = self.sentences[second], np.where(pair, np.minimum(length[second], longest + 1), 0)
        ids, word, attention = self.rows(t.cls_token_id, one, t.sep_token_id, two, t.sep_token_id)
        column = np.arange(ids.shape[1])
        segments = attention * (column >= (one[1] + 2)[:, None])
        ids, labels = self.masked(ids, self.words(word, random), random)
        return _tensors(
            input_ids=ids,
            attention_mask=attention,
            token_type_ids=segments,
            labels=labels,
            follows=np.where(pair, unlike, IGNORED).astype(np.int64),
        )

    def target_counts(self, batch: Batch) -> dict[str, int]:
        """Return the number of targets in ``batch``, by loss."""
        found = {"mlm": batch["labels"], "nsp": batch["follows"]}
        return {name: int((found[name] != IGNORED).sum()) for name in self.wanted}

    def losses(self, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the sum of each loss over the targets of ``batch``."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        out = model.base_model(**{name: batch[name] for name in names})
        mlm = _cross_entropy(model.cls.predictions, out.last_hidden_state, batch["labels"])
        nsp = _cross_entropy(model.cls.seq_relationship, out.pooler_output, batch["follows"])
        both = {"mlm": mlm, "nsp": nsp}
        return {name: both[name] for name in self.wanted}


class Causal(Texts):
    """Causal language modelling: each token from those before it, start and end tokens included."""

    loss = "clm"

    def draw(self, step: int, size: int) -> Batch:
        """Return batch number ``step`` of ``size`` rows."""
        random, t = self.random(step), self.tokenizer
        text = self.spans(size, self.max_length - 2, random)
        begin = t.eos_token_id if t.bos_token_id is None else t.bos_token_id
        ids, _, attention = self.rows(begin, text, t.eos_token_id)
        following = np.where(attention[:, 1:], ids[:, 1:], IGNORED)
        labels = np.pad(following, ((0, 0), (0, 1)), constant_values=IGNORED)
        return _tensors(input_ids=ids, attention_mask=attention, labels=labels)

    def losses(self, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the sum of each loss over the targets of ``batch``."""
        hidden = model.base_model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        return {self.loss: _cross_entropy(model.get_output_embeddings(), hidden, batch["labels"])}


class Permutation(Texts):
    """Permutation language modelling: the tokens of chosen words, in a random order.

    perm_mask (batch, length, length): 1 where a position may not attend to another. All positions
    attend to tokens that are not targets; targets are visible only to later ones in the order.
    target_mapping (batch, targets, length): one-hot position of each target.
    """

    loss = "plm"

    def draw(self, step: int, size: int) -> Batch:
        """Return batch number ``step`` of ``size`` rows."""
        random, t = self.random(step), self.tokenizer
        text = self.spans(size, self.max_length - 2, random)
        ids, word, attention = self.rows(text, t.sep_token_id, t.cls_token_id)
        chosen = self.words(word, random)
        order = np.where(chosen, random.random(ids.shape), -1.0)
        hidden = chosen[:, None, :] & (order[:, :, None] <= order[:, None, :])
        row, place = np.nonzero(chosen)
        count = chosen.sum(axis=1)
        number = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        mapping = np.zeros((size, max(1, count.max()), ids.shape[1]), dtype=np.float32)
        mapping[row, number, place] = 1.0
        labels = np.full(mapping.shape[:2], IGNORED, dtype=np.int64)
        labels[row, number] = ids[row, place]
        return _tensors(
            input_ids=ids,
            attention_mask=attention,
            perm_mask=hidden.astype(np.float32),
            target_mapping=mapping,
            labels=labels,
        )

    def losses(self, model: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the sum of each loss over the targets of ``batch``."""
        names = ("input_ids", "attention_mask", "perm_mask", "target_mapping")
        hidden = model.base_model(**{name: batch[name] for name in names}).last_hidden_state
        return {self.loss: _cross_entropy(model.lm_loss, hidden, batch["labels"])}


Objective = Masked | MaskedPairs | Causal | Permutation


def objective_of(
    settings: Settings, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, held_out: bool
) -> Objective:
    """Return the objective of ``pretrain.encoder``'s family, over held-out or other documents.

    If there are none (a tiny corpus), all documents are used.
    """
    documents = np.flatnonzero(np.asarray(corpus.held_out) == held_out)
    documents = documents[np.diff(corpus.documents)[documents] > 0]
    common = (
        corpus,
        documents if len(documents) else np.flatnonzero(np.diff(corpus.documents)),
        tokenizer,
        settings.corpus.max_length,
        settings.pretrain.mask_probability,
        settings.seed,
    )
    family = FAMILIES[family_of(settings.pretrain.encoder)]
    if family.pairs:
        return MaskedPairs(*common, wanted=settings.pretrain.objectives)
    kinds: dict[str, type[Masked | Causal | Permutation]] = {
        "masked": Masked,
        "causal": Causal,
        "permutation": Permutation,
    }
    return kinds[family.objective](*common)


def _cross_entropy(
    head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the summed cross-entropy of ``head`` over the targets.

    The head is as wide as the vocabulary, so it is computed for the targets only.
    """
    targets = labels != IGNORED
    return F.cross_entropy(head(hidden[targets]).float(), labels[targets], reduction="sum")


def _tensors(**arrays: AnyArray) -> Batch:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
