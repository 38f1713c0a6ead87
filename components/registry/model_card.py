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


def comparison_section(found: dict[str, Any]) -> str:
    """Return a comparison (``Comparison.as_dict``) as Markdown: decision, gains, guardrails."""
    parts = [
        f"{found['users']:,} users were evaluated; {found['reason']}.",
        _against("champion", found["champion"], found["challenger"], found),
    ]
    if (baseline := found["baseline"]) is not None:
        parts.append(_against("baseline", baseline["other"], found["challenger"], baseline))
    return "\n\n".join(parts)


def _against(name: str, other: float, challenger: float, gain: dict[str, Any]) -> str:
    """Return the figures against the champion or the baseline as a table and a sentence."""
    rows = [
        f"| {key} | {one['champion']:.3f} | {one['challenger']:.3f} | {one['limit']:.3f} | "
        f"{'yes' if one['passed'] else 'no'} |"
        for key, one in gain["guardrails"].items()
    ]
    return "\n".join(
        [
            f"Against the {name}, NDCG@10 changes from {other:.4f} to {challenger:.4f}: "
            f"{gain['difference']:+.4f}, 95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}. "
            f"The one-sided lower bound is {gain['bound']:+.4f}; it must lie above "
            f"{gain['required']:+.4f}.",
            "",
            f"| guardrail | {name} | challenger | limit | passed |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
