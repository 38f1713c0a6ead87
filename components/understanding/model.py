"""What a shop's conversation understands with: the tagger, and the catalogue's phrases by meaning.

In: a folder ``understanding``, made by the stage of that name. Out: ``UnderstandingModel``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from components.arrays import FloatArray
from components.understanding.dictionary import Dictionary
from components.understanding.tagger import FrozenEncoder, Tagger
from components.understanding.terms import PhraseVectors, Terms, Vocabulary

READER = "reader"
PHRASES, VECTORS, CONFIG = "phrases.json", "phrases.npy", "config.json"


class UnderstandingModel:
    """languages: of the catalogue, ISO 639-1. vectors: float16 (phrases, width)."""

    def __init__(
        self,
        tagger: Tagger,
        languages: Sequence[str],
        phrases: Sequence[str],
        vectors: FloatArray,
    ) -> None:
        self.tagger, self.languages = tagger, list(languages)
        self.phrases, self.vectors = list(phrases), vectors
        self._dictionary = Dictionary()

    def terms(self, vocabulary: Vocabulary) -> Terms:
        """Return what translates shoppers' words into those of a catalogue."""
        reader = self.tagger.reader
        meaning = PhraseVectors(self.phrases, self.vectors.astype(np.float32), reader.encode)
        return Terms(vocabulary, self.languages, self._dictionary, meaning)

    def save(self, folder: Path) -> None:
        """Write the model to a folder, with its encoder."""
        self.tagger.reader.save(folder / READER)
        self.tagger.save(folder)
        (folder / CONFIG).write_text(json.dumps({"languages": self.languages}))
        (folder / PHRASES).write_text(json.dumps(self.phrases, ensure_ascii=False))
        np.save(folder / VECTORS, self.vectors.astype(np.float16))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the model of a folder.

        Raises:
            FileNotFoundError, OSError, ValueError, KeyError: the folder is incomplete or damaged.
        """
        tagger = Tagger.load(folder, FrozenEncoder(folder / READER))
        languages = json.loads((folder / CONFIG).read_text())["languages"]
        phrases = json.loads((folder / PHRASES).read_text())
        return cls(tagger, languages, phrases, np.load(folder / VECTORS))
