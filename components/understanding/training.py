"""The stage ``understanding``: train the tagger of a shop's conversation.

In: the catalogue's titles and categories, the rules' words, ``understanding`` of params.yaml. Out:
``models/understanding`` and ``reports/understanding.json`` with the tagger's accuracy on new
sentences of the same frames, in all and by language; ``python -m benchmarks.needs`` measures other
people's.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from components.json_files import write_json
from components.language.families import locate
from components.language.packaged import ENCODERS, MissingPackageError
from components.settings import Settings
from components.understanding.dictionary import kinds, names
from components.understanding.model import UnderstandingModel
from components.understanding.tagger import FrozenEncoder, Tagger
from components.understanding.terms import phrases_of
from components.understanding.utterances import (
    INTENTS,
    Intent,
    Utterance,
    UtteranceGenerator,
    languages,
)
from components.words.languages import UNDETERMINED, catalogue_languages, shares

SHARES: dict[Intent, float] = {"find": 0.45, "refine": 0.1, "not_my_field": 0.06, "hello": 0.04}
"""Shares of the intents among the training sentences; the others share the rest."""
OWN = 0.3
"""Share of the catalogue's own kinds of product among the things of a sentence."""
JUDGED = 200
"""Sentences of each language that the report's accuracy is of."""


def write(
    titles: pd.Series,
    of_catalogue: Sequence[str],
    codes: Sequence[str],
    per_language: int,
    seed: int,
) -> list[Utterance]:
    """Return training sentences in the languages ``codes``.

    titles: of the catalogue. of_catalogue: its languages; shoppers of other languages use its
    words too.
    """
    own = sorted({kind for code in of_catalogue for kind in kinds(titles, code)})
    rest = (1 - sum(SHARES.values())) / (len(INTENTS) - len(SHARES))
    found = []
    for code in codes:
        general = names(code)
        repeated = max(1, round(OWN / (1 - OWN) * len(general) / max(1, len(own))))
        things = [*general, *own * (repeated if code in of_catalogue else 1)]
        writer = UtteranceGenerator(code, things, seed)
        for intent in INTENTS:
            n = round(per_language * SHARES.get(intent, rest))
            found += [writer.write(intent) for _ in range(n)]
    return found


def languages_of(titles: pd.Series) -> list[str]:
    """Return the languages of a catalogue that are a tenth of it or more; English if none is
    clear."""
    found = catalogue_languages(titles[titles != ""])
    known = [code for code, share in shares(found).items() if share >= 0.1 and code != UNDETERMINED]
    return known or ["en"]


def shopper_languages(encoder: str) -> list[str]:
    """Return the languages that a tagger over an encoder is trained in."""
    model = ENCODERS.get(encoder)
    if model is None or model.languages is None:
        return list(languages())
    return [code for code in languages() if code in model.languages]


def run(settings: Settings, root: Path = Path()) -> None:
    """Run the stage. With ``understanding.by: grammar`` its output is an empty folder."""
    chosen = settings.understanding
    out = root / "models/understanding"
    report = root / "reports/understanding.json"
    encoder = chosen.encoder or settings.pretrain.encoder
    if chosen.by == "grammar" or encoder.startswith("scratch:"):
        if chosen.by != "grammar":
            print(f"{encoder} is trained from nothing: the grammar understands messages")
        _emptied(out)
        write_json(report, {"by": "grammar"})
        return
    titles = pd.read_parquet(root / "data/prepared/items.parquet")["title"].fillna("").astype(str)
    reader = opened(encoder)
    codes = shopper_languages(encoder)
    model = train(reader, titles, codes, chosen.sentences, chosen.epochs, settings.seed)
    model.save(_emptied(out))
    judged = write(titles, model.languages, codes, JUDGED, settings.seed + 1)
    write_json(report, {"by": chosen.by, "encoder": encoder, **accuracy(model.tagger, judged)})


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def opened(encoder: str) -> FrozenEncoder:
    """Return an encoder by its name in params.yaml.

    Raises:
        ValueError: there is none of that name, or it cannot be read.
    """
    try:
        return FrozenEncoder(locate(encoder))
    except (OSError, ValueError) as error:
        if isinstance(error, MissingPackageError):
            raise
        raise ValueError(
            f"understanding.encoder: cannot open {encoder}. It is neither a packaged encoder "
            f"({', '.join(ENCODERS)}), nor a folder with a model and its tokenizer, nor a model of "
            "the Hub that can be reached"
        ) from error


def accuracy(tagger: Tagger, sentences: Sequence[Utterance]) -> dict[str, Any]:
    """Return the shares of sentences whose intent, and whose labelled parts, are all right, and
    under ``languages`` the same of each language."""
    tagged = tagger.tag_all([one.text for one in sentences])
    rows = [
        {
            "language": one.language,
            "intent": found.intent == one.intent,
            "parts": {(span.label, span.start, span.stop) for span in found.spans}
            == {(label, start, stop) for start, stop, label in one.spans},
        }
        for found, one in zip(tagged, sentences, strict=True)
    ]
    table = pd.DataFrame(rows)
    of_language = {code: _shares(part) for code, part in table.groupby("language", sort=False)}
    return {**_shares(table), "languages": of_language}


def _shares(judged: pd.DataFrame) -> dict[str, float]:
    return {
        "sentences": len(judged),
        "intent_accuracy": round(float(judged["intent"].mean()), 4),
        "parts_accuracy": round(float(judged["parts"].mean()), 4),
    }


def train(
    reader: FrozenEncoder,
    titles: pd.Series,
    codes: Sequence[str],
    sentences: int,
    epochs: int,
    seed: int,
) -> UnderstandingModel:
    """Return the trained model. titles: of the catalogue. codes: languages of shoppers, with
    ``sentences`` training sentences each."""
    of_catalogue = languages_of(titles)
    tagger = Tagger(reader, codes)
    tagger.fit(write(titles, of_catalogue, codes, sentences, seed), epochs, seed=seed)
    phrases = phrases_of(titles)
    return UnderstandingModel(tagger, of_catalogue, phrases, reader.encode(phrases))
