"""Pseudo-texts: attributes of products with poor texts, written by a causal language model.

In: the catalogue and a model of ``writer.LocalWriter``. Out: a table of made-up texts, marked as
generated, filtered, with a confidence and a weight, as the rows of ``augmentation``; and vectors of
products in which they weigh less than the shop's own text.

What is written is no fact about a product: a model of 135 million parameters guesses that a spoon
is of wood. It stays in ``models/vectors/generated.parquet`` and moves vectors. The catalogue's
table, which pages, search, reasons and the conversation read, does not have it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from components.arrays import FloatArray, IntArray
from components.data.dataset import item_text
from components.language.corpus import clean
from components.language.families import weights_digest
from components.language.packaged import WRITERS, packaged_folder
from components.language.writer import LocalWriter
from components.progress import progress
from components.settings import Augment
from components.words.languages import UNDETERMINED, languages_of
from components.words.segmentation import words

FIELDS = ("kind", "material", "use")
TASK = "Name the kind, the material and the use of the product."
EXAMPLES = {
    "hearts wrapping tape": ("sticky tape", "paper", "wrapping gifts"),
    "white metal lantern": ("lamp", "metal and glass", "light in the garden"),
    "set/6 tea towels": ("kitchen cloth", "cotton", "drying dishes"),
    "robot pencil sharpner": ("stationery", "plastic", "sharpening pencils at school"),
    "ladies trail shoe 38": ("footwear", "rubber and fabric", "running outdoors"),
}
"""Without examples a small model does not keep to the form."""
BATCH, TOKENS = 32, 32
"""Products written about at once; most tokens of a response."""
LONGEST = 200
"""Characters of a product's text that the model reads."""
MOST_WORDS = 5
"""Words of a value."""

_FIELD = re.compile(r"\b(Kind|Material|Use): ([^.:]*)\.")
_VALUE = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")


def lengths(table: pd.DataFrame) -> IntArray:
    """Return int (items,): the words of each product's own text, numbers not counted.

    >>> columns = {"title": ["SET OF 6 MUGS", "12"], "brand": None, "description": None}
    >>> lengths(pd.DataFrame(columns | {"categories": [[], []], "categories_inferred": False}))
    array([3, 0])
    """
    texts = clean(pd.Series(item_text(table)))
    return np.array([sum(not word.isdecimal() for word in words(text)) for text in texts])


def chosen(table: pd.DataFrame, settings: Augment, seed: int) -> IntArray:
    """Return int (n,): the codes of products with poor texts, at most ``augment.most_texts``.

    Poor: fewer words than ``augment.poor_words``, and one at least. The poorest come first; the
    order among those of one length is drawn by ``seed``. Texts in a language that the model does
    not write are left out.
    """
    counts = lengths(table)
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(counts[order], kind="stable")]
    order = order[(counts[order] > 0) & (counts[order] < settings.poor_words)]
    known = WRITERS[settings.texts].languages if settings.texts in WRITERS else None
    if known is not None:
        texts = pd.Series(item_text(table)).iloc[order]
        order = order[np.isin(languages_of(texts), [*known, UNDETERMINED])]
    return order[: settings.most_texts]


def written(texts: list[str], model: str, file: Path, root: Path = Path()) -> list[str]:
    """Return the response of a causal model to each text, unfiltered.

    model: a packaged model's name or a folder. file: JSON lines of the responses so far, to which
    each batch is added: a killed run continues after it, and the next one writes about new texts
    alone.

    Raises:
        MissingPackageError: the package of ``model`` is not installed.
        ValueError: ``model`` is neither a packaged one nor a folder.
        WriterError: the folder holds no causal model.
    """
    folder = packaged_folder(model, root) if model in WRITERS else root / model
    if not folder.is_dir():
        raise ValueError(
            f"augment.texts: there is no folder {folder}; packaged models: {', '.join(WRITERS)}"
        )
    way = f"{weights_digest(str(folder))} {TASK} {EXAMPLES} {TOKENS}"
    keys = [hashlib.blake2b(f"{way} {one}".encode(), digest_size=16).hexdigest() for one in texts]
    known = _saved(file)
    texts_of = dict(zip(keys, texts, strict=True))
    missing = [(key, text) for key, text in texts_of.items() if key not in known]
    if missing:
        # Batches of a similar length; a resumed run has the same ones.
        missing.sort(key=lambda pair: (len(pair[1]), pair[0]))
        writer = LocalWriter(folder, setting="augment.texts")
        file.parent.mkdir(parents=True, exist_ok=True)
        for start in progress(range(0, len(missing), BATCH), desc="pseudo-texts", unit="batch"):
            batch = missing[start : start + BATCH]
            responses = writer.write_all([messages(one) for _, one in batch], TOKENS)
            found = {key: said for (key, _), said in zip(batch, responses, strict=True)}
            with file.open("a", encoding="utf-8") as lines:
                # The newline comes first, so that a torn line spoils no other.
                lines.writelines("\n" + json.dumps(pair) for pair in found.items())
            known |= found
    return [known[key] for key in keys]


def _saved(file: Path) -> dict[str, str]:
    """Return the responses of a file by key, without blank lines and one that a kill left torn."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            key, said = json.loads(line)
        except ValueError:
            continue
        found[key] = said
    return found


def messages(text: str) -> list[dict[str, str]]:
    """Return the chat messages that ask for the attributes of one product."""
    said = [{"role": "system", "content": TASK}]
    for example, values in EXAMPLES.items():
        said.append({"role": "user", "content": example})
        pairs = zip(FIELDS, values, strict=True)
        answer = " ".join(f"{name.capitalize()}: {value}." for name, value in pairs)
        said.append({"role": "assistant", "content": answer})
    return [*said, {"role": "user", "content": text[:LONGEST]}]


def filtered(response: str, text: str, names: Container[str]) -> list[str]:
    """Return the values of FIELDS that a response gives, "" for what is filtered out.

    text: of the product. names: titles and brands of the catalogue, in lower case.

    Filtered out is a value that was cut off; that is no plain words (empty, or with a control
    token, a number, markup); that is long, or repeats a word or another value; that is an example's
    with no word of the text; and that has the name of another product.

    >>> filtered("Kind: lamp. Material: metal and glass. Use: light light.", "old lamp", set())
    ['lamp', '', '']
    """
    said: dict[str, str] = {}
    for field, value in _FIELD.findall(response):
        said.setdefault(field.lower(), value.strip().lower())
    own, kept = set(words(text)), list[str]()
    for field, examples in zip(FIELDS, zip(*EXAMPLES.values(), strict=True), strict=True):
        value = said.get(field, "")
        parts = value.split()
        copied = len(parts) > 1 and value in examples and own.isdisjoint(words(value))
        fine = (
            _VALUE.fullmatch(value) is not None
            and len(parts) <= MOST_WORDS
            and len(set(parts)) == len(parts)
            and value not in kept
            and not copied
            and all(own.issuperset(words(one)) for one in _phrases(parts) if one in names)
        )
        kept.append(value if fine else "")
    return kept


def _phrases(parts: list[str]) -> Iterator[str]:
    """Yield all runs of words."""
    for start, stop in combinations(range(len(parts) + 1), 2):
        yield " ".join(parts[start:stop])


def pseudo_texts(
    table: pd.DataFrame,
    encode: Callable[[list[str]], FloatArray],
    settings: Augment,
    seed: int,
    file: Path,
    root: Path = Path(),
) -> pd.DataFrame:
    """Return item (code), kind, material, use, text, confidence, weight and generated.

    ``text`` is what passes the filter. Confidence: its cosine to the product's own text; below
    ``augment.min_confidence`` the row is left out. Weight: ``augment.weight`` times the confidence;
    the own text has 1. encode: texts to unit vectors (texts, width) of an encoder without its head,
    whose whitening makes cosines small. file: see ``written``.
    """
    codes = chosen(table, settings, seed)
    own = clean(pd.Series(item_text(table))).iloc[codes].tolist()
    responses = written(own, settings.texts, file, root)
    both = [table["title"], table["brand"]]
    names = {name for column in both for name in clean(column).str.lower() if name}
    values = [filtered(said, text, names) for said, text in zip(responses, own, strict=True)]
    made = pd.DataFrame(values, columns=list(FIELDS), dtype=str)
    made.insert(0, "item", codes)
    made["text"] = [", ".join(filter(None, row)) for row in values]
    pair = encode(own), encode(made["text"].tolist())
    made["confidence"] = (pair[0] * pair[1]).sum(axis=1).clip(0, 1)
    made["weight"] = settings.weight * made["confidence"]
    sure = (made["text"] != "") & (made["confidence"] >= settings.min_confidence)
    print(f"{len(made):,} products with poor texts, {sure.sum():,} pseudo-texts")
    return made[sure].reset_index(drop=True).assign(generated=True)


def mixed(vectors: FloatArray, made: pd.DataFrame, generated: FloatArray) -> FloatArray:
    """Return unit vectors (items, width) with those of pseudo-texts added by their weight.

    vectors: unit vectors (items, width) of the products' own texts. made: of ``pseudo_texts``.
    generated: unit vectors (rows, width) of its texts.
    """
    out, items = vectors.copy(), made["item"].to_numpy()
    out[items] += made["weight"].to_numpy(np.float32)[:, None] * generated
    out[items] /= np.linalg.norm(out[items], axis=1, keepdims=True)
    return out
