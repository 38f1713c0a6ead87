"""Prompts of an encoder: what it was trained to read before each text, by the text's kind.

In: the encoder's folder or Hub name. Out: the prompt of queries and of documents, from
``config_sentence_transformers.json``, the file in which sentence-transformers keeps them. Models
such as E5 (Wang et al. 2022) were trained with them and are worse without; most have none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

Kind = Literal["query", "document"]
"""What a text is: typed by a person who searches, or the text of a product."""

Prompts = dict[Kind, str]

FILE = "config_sentence_transformers.json"


def read_prompts(place: str) -> Prompts:
    """Return the prompts by kind, "" where there is none.

    place: a folder, or the name of a model of the Hub.

    Raises:
        ValueError: whether a model of the Hub has prompts is not known: it is not in the
            Hub's cache, and the Hub cannot be reached.
    """
    file = _file(place)
    content = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    prompts = content.get("prompts") or {}
    document = prompts.get("document") or prompts.get("passage") or ""
    return {"query": prompts.get("query") or "", "document": document}


def _file(place: str) -> Path | None:
    """Return the file of the prompts, None if the model has none."""
    if Path(place).is_dir():
        file = Path(place) / FILE
        return file if file.exists() else None
    cached = try_to_load_from_cache(place, FILE)
    if isinstance(cached, str):
        return Path(cached)
    if cached is not None:  # the Hub said that there is none
        return None
    try:
        return Path(hf_hub_download(place, FILE))
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"pretrain.encoder: whether {place} was trained with prompts is not known: its {FILE} "
            "is not in the Hub's cache, and the Hub cannot be reached; run once with a network"
        ) from error
    except EntryNotFoundError:
        return None


def write_prompts(prompts: Prompts, folder: Path) -> None:
    """Write the prompts into an encoder's folder, if there are any."""
    if any(prompts.values()):
        content = {"prompts": prompts, "default_prompt_name": None}
        (folder / FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
