"""Prompts of an encoder: what it was trained to read before each text, by the text's kind.

In: the encoder's folder or Hub name. Out: the prompt of queries and of documents, from
``config_sentence_transformers.json``, the file in which sentence-transformers keeps them. Models
such as E5 (Wang et al. 2022) were trained with them and are worse without; most have none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from transformers.utils import cached_file

Kind = Literal["query", "document"]
"""What a text is: typed by a person who searches, or the text of a product."""

Prompts = dict[Kind, str]

FILE = "config_sentence_transformers.json"


def read_prompts(place: str) -> Prompts:
    """Return the prompts by kind, "" where there is none.

    place: a folder, or the name of a model of the Hub.

    Raises:
        OSError: the Hub cannot be reached, and the model's files are not in its cache.
    """
    file = cached_file(place, FILE, _raise_exceptions_for_missing_entries=False)
    content = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    prompts = content.get("prompts") or {}
    document = prompts.get("document") or prompts.get("passage") or ""
    return {"query": prompts.get("query") or "", "document": document}


def write_prompts(prompts: Prompts, folder: Path) -> None:
    """Write the prompts into an encoder's folder, if there are any."""
    if any(prompts.values()):
        content = {"prompts": prompts, "default_prompt_name": None}
        (folder / FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
