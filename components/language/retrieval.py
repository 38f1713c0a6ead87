"""Retrieval: an additional task of fine-tuning, for search and conversation.

In: the products' texts. Out: synthetic queries (words of a text in their order, with some omitted,
as shoppers type), and the loss of finding the product among all products.
"""

from __future__ import annotations

import re

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch.nn import functional as F

from components.arrays import BoolArray
from components.language.batches import whole_passes
from components.language.encoder import TextEncoder
from components.words.segmentation import has_unspaced, normalise, words

_WORD = re.compile(r"[^\W\d_]{2,}")  # of a text in which spaces separate words
WORDS = 3
"""Most words of a query."""
QUERIES = 4096
"""Most products with a query."""


def made_queries(texts: list[str], seed: int) -> list[str]:
    """Return a query of one to WORDS words for each text; the text itself if it has no word.

    >>> made_queries(["mug"], 0)
    ['mug']
    """
    random = np.random.default_rng(seed)
    queries = []
    for text in texts:
        said = words_of(text)
        n = min(len(said), int(random.integers(1, WORDS + 1)))
        chosen = np.sort(random.choice(len(said), n, replace=False)) if said else range(0)
        queries.append(" ".join(said[place] for place in chosen) or text)
    return queries


def words_of(text: str) -> list[str]:
    """Return the words of a text that a query may have: of letters, and of two characters or more.

    >>> words_of("A red mug, 350ml"), words_of("日式陶瓷马克杯的盖")
    (['red', 'mug', 'ml'], ['日式', '陶瓷', '马克杯'])
    """
    if not has_unspaced(text):
        return _WORD.findall(text.lower())
    return [word for word in words(normalise(text)) if len(word) > 1 and word.isalpha()]


def count_words(texts: list[str], queries: list[str]) -> tuple[sp.csc_matrix, sp.csr_matrix]:
    """Return 1 for each word of a text, CSC (words, texts), and of a query, CSR (queries, words).

    Raises:
        ValueError: no text has a word.
    """
    vectoriser = CountVectorizer(analyzer=words_of, binary=True)
    text_words = vectoriser.fit_transform(texts).T.tocsc()
    return text_words, vectoriser.transform(queries)


def having_all(query_words: sp.csr_matrix, text_words: sp.csc_matrix) -> BoolArray:
    """Return bool (queries, texts): whether the text has all words of the query.

    >>> text_words, query_words = count_words(["red mug", "blue mug"], ["mug", "blue mug"])
    >>> having_all(query_words, text_words).tolist()
    [[True, True], [False, True]]
    """
    common = (query_words @ text_words).toarray()
    found: BoolArray = common == np.asarray(query_words.sum(axis=1))
    return found


class Retrieval:
    """Loss of finding a query's product among all products.

    texts: of the products. A product whose text contains all words of the query is a valid result
    too, so it is not used as a negative. negatives: products that a query is contrasted with; a
    sample of them in each step if there are more.
    """

    def __init__(self, encoder: TextEncoder, texts: list[str], negatives: int, seed: int) -> None:
        self.encoder, self.negatives, self.seed = encoder, negatives, seed
        self.products = np.random.default_rng(seed).permutation(len(texts))[:QUERIES]
        self.queries = made_queries([texts[row] for row in self.products], seed)
        try:
            self.text_words, self.query_words = count_words(texts, self.queries)
        except ValueError as error:  # scikit-learn's error for an empty vocabulary
            raise ValueError("finetune: retrieval needs products with titles") from error
        self.vectors = encoder.tensor(encoder.encode(self.queries, with_head=False, kind="query"))

    def loss(
        self, bank: torch.Tensor, temperature: float, step: int, size: int, fresh: bool
    ) -> torch.Tensor:
        """Return the mean loss of batch n of ``size`` queries.

        bank: (products, width) before the head. fresh: encode the queries again instead of using
        their last vectors.
        """
        rows = whole_passes(np.arange(len(self.queries)), size, self.seed, step)
        if fresh:
            vectors = self.encoder.before_head([self.queries[row] for row in rows], "query")
        else:
            vectors = self.vectors[self.encoder.tensor(rows)]
        target, text_words, n = self.products[rows], self.text_words, len(bank)
        if n > self.negatives:  # a sample represents the catalogue
            random = np.random.default_rng([self.seed, 3, step])
            sample = random.choice(n, self.negatives, replace=False)
            chosen = np.unique(np.concatenate([sample, target]))
            bank, text_words = bank[self.encoder.tensor(chosen)], text_words[:, chosen]
            target = np.searchsorted(chosen, target)
        logits = self.encoder.project(vectors) @ self.encoder.project(bank).T
        logits = logits.float() / temperature  # (queries, products)
        answers = having_all(self.query_words[rows], text_words)
        answers[np.arange(len(rows)), target] = False
        others = logits.masked_fill(self.encoder.tensor(answers), -torch.inf)
        return F.cross_entropy(others, self.encoder.tensor(target))
