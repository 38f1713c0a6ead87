"""The model card of a version (Mitchell et al., Model cards for model reporting, FAT* 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from components.data.dataset import Prepared
from components.settings import Settings

_TEMPLATE = Path(__file__).parent / "model_card.md.jinja"


def model_card(
    settings: Settings, prepared: Prepared, table: pd.DataFrame, facts: dict[str, Any]
) -> str:
    """Return the card as Markdown.

    table: ``reports/evaluation.csv``. facts: data_version, commit and ratio (the hybrid's NDCG@10
    divided by that of the best single model).
    """
    environment = jinja2.Environment(trim_blocks=False, autoescape=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        name=settings.register_.model_name,
        candidates=settings.train.names,
        encoder=settings.pretrain.encoder,
        interactions=f"{len(prepared.interactions.users):,}",
        users=f"{len(prepared.users):,}",
        items=f"{len(prepared.catalogue):,}",
        test_start=pd.Timestamp(prepared.test_start, unit="s").date(),
        end=pd.Timestamp(prepared.end, unit="s").date(),
        table=table.sort_values("ndcg@10", ascending=False).to_dict("records"),
        **facts,
    )
