"""Does the conversation respect the shopper's limits, and are its proposals sensible?

    python -m benchmarks.conversation [--model models/hybrid]     (``make run`` makes the model)

40 needs in a shopper's words for the embedded shop, written before the first run and not changed
after it; nothing was tuned on them. Each has limits of price, words that must not appear in a title
(exclusions, with the shop's names for them), and a pattern of titles that a shop assistant could
sensibly show. Five proposals are requested from

- words: plain text search for the whole message (TF-IDF of words and letters);
- words and meaning: the same with the model folder's encoder, if it has one;
- conversation: ``serving/conversation/dialogue.py``, one message, an unknown shopper.

Kept: share of proposals within the limits and without what was refused; needs whose answer says
that a limit had to be given up count as not kept. Sensible: share of five places filled with a
kept proposal whose title fits the pattern. All kept, all five sensible: share of the needs.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.needs.systems import K, open_systems
from serving.recommend.engine import Engine

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Need:
    """fits: pattern of sensible titles. never: pattern of titles that were refused."""

    message: str
    fits: str
    low: float = 0.0
    high: float = np.inf
    never: str = r"(?!)"


CHILD = (
    r"child|toy|doll|spaceboy|skittle|girl|boy|kids|animal|circus|jigsaw|puzzle|farm|bunny|robot"
)
HER = (
    r"necklace|bracelet|earring|jewel|lavender|candle|rose|handbag|purse|ring|heart|mirror|scented"
    r"|mum"
)
HIM = r"wine|ashtray|clock|domino|chess|opener|travel|tool|dad|mens|man|games?|cards"
NEEDS = [
    Need("a gift for a child under 10 pounds, no plastic", CHILD, high=10, never="plastic|acrylic"),
    Need("something for my mum's birthday, around £10", HER + "|birthday", 7.5, 12.5),
    Need("red mug", r"(?=.*\bred)(?=.*mug)"),
    Need("I need a teapot, not red", "teapot", never=r"\bred\b"),
    Need("scented candle under £3", r"candle", high=3),
    Need("christmas decorations without glass, max £2", "christmas|xmas", high=2, never="glass"),
    Need("a wooden photo frame for less than a tenner", "frame", high=10),
    Need("hot water bottle but not pink", "hot water bottle", never="pink"),
    Need("paper plates or napkins for a party", "plate|napkin"),
    Need("silver necklace between £2 and £8", r"necklace", 2, 8),
    Need("something blue for the kitchen up to 5 quid", r"\bblue\b", high=5),
    Need("a clock for the wall, at least £5", "clock", 5),
    Need("lunch box for my son, no spaceboy please", "lunch ?box|lunch", never="spaceboy"),
    Need("cheap earrings", "earring", high=3),
    Need("glass vase, nothing over £6", "vase|glass|jug|bottle", high=6),
    Need("cake stand", "cake ?stand"),
    Need("a present for my dad under 15 euros", HIM, high=15),
    Need("baking set for kids", "baking|cake|apron|cutter|childs"),
    Need("plastic-free lunch bag", "lunch bag|bag", never="plastic|acrylic"),
    Need("wrapping paper with hearts", r"(?=.*heart)(?=.*(?:wrap|paper|tape|tag))"),
    Need("I hate flowers. Show me cushions", "cushion", never="flower|floral|rose|daisy"),
    Need(
        "something for the garden for around 5 pounds",
        "garden|plant|herb|bird|seed|hose",
        3.75,
        6.25,
    ),
    Need("easter eggs, 50p to £2", "egg|easter", 0.5, 2),
    Need("door mat over £5", "door ?mat", 5),
    Need("umbrella or parasol for a child", "umbrella|parasol"),
    Need("birthday cards for less than 50p", "card", high=0.5),
    Need("vintage tin, no bigger than £4", "tin", high=4),
    Need("notebook with flowers", r"notebook|journal|sketchbook"),
    Need("a lamp for the bedroom, not too expensive", "lamp|light|lantern|shade", high=10),
    Need(
        "ivory candle holder without metal", "holder|candlestick|candle", never="metal|zinc|steel"
    ),
    Need(
        "wedding gift from £10", "wedding|heart|frame|cake ?stand|mirror|love|sweetheart|ivory", 10
    ),
    Need("bathroom accessories in white", r"bath|soap|towel|toilet|toothbrush|sponge"),
    Need("set of 6 mugs or cups", "mug|cup"),
    Need("black bag, no skulls", r"bag|handbag", never="skull"),
    Need("advent calendar", "advent"),
    Need("fairy lights, no red, no pink", "fairy|light", never=r"\bred\b|\bpink\b"),
    Need("knitting or sewing kit under £8", "knit|sew|kit|felt", high=8),
    Need("retrospot things for a picnic up to £10", "retrospot|spot|picnic", high=10),
    Need("ceramic bowl, not blue and not green", "bowl|dish", never=r"\bblue\b|\bgreen\b"),
    Need("bird house for less than £12", r"bird.*(?:house|box|feeder|nest|table|cage)", high=12),
]


def judged(need: Need, codes: list[int], engine: Engine) -> tuple[list[bool], list[bool]]:
    """Return for each proposal whether it keeps to what was said, and if it is sensible too."""
    titles = [engine.titles[code].lower() for code in codes]
    kept = [
        bool(need.low - 1e-6 <= engine.prices[code] <= need.high + 1e-6)
        and not re.search(need.never, title)
        for code, title in zip(codes, titles, strict=True)
    ]
    fits = [
        ok and bool(re.search(need.fits, title)) for ok, title in zip(kept, titles, strict=True)
    ]
    return kept, fits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/hybrid"))
    folder = parser.parse_args().model
    engine = Engine.load(folder, "benchmark")
    systems = open_systems(folder, engine)
    rows = []
    for system in systems:
        for need in NEEDS:
            started = time.perf_counter()
            codes = system.reply(need.message, None).items
            seconds = time.perf_counter() - started
            kept, fits = judged(need, codes, engine)
            rows.append(
                {
                    "method": system.name,
                    "need": need.message,
                    "proposals": len(codes),
                    "kept": sum(kept),
                    "sensible": sum(fits),
                    "milliseconds": 1000 * seconds,
                    "titles": " / ".join(engine.titles[code] for code in codes),
                }
            )
    frame = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    frame.to_csv(RESULTS / "conversation.csv", index=False, float_format="%.1f")
    lines = []
    for system in systems:
        part = frame[frame["method"] == system.name]
        kept = part["kept"].sum() / part["proposals"].sum()
        all_kept = (part["kept"] == part["proposals"]).mean()
        sensible = part["sensible"].sum() / (K * len(part))
        all_sensible = (part["sensible"] == K).mean()
        lines.append(
            f"| {system.name} | {kept:.3f} | {all_kept:.3f} | {sensible:.3f} | {all_sensible:.3f} "
            f"| {part['milliseconds'].median():.0f} |"
        )
    missed = frame[(frame["method"] == "conversation") & (frame["sensible"] < K)]
    (RESULTS / "conversation.md").write_text(
        "\n".join(
            [
                "# Conversation: 40 needs over the embedded shop",
                "",
                "`python -m benchmarks.conversation`; protocol in the module's docstring. The "
                "needs were written by the author of the grammar: other shoppers will say what it "
                "does not know.",
                "",
                "| by | kept | all kept | sensible | all five sensible | median ms |",
                "|---|---|---|---|---|---|",
                *lines,
                "",
                "Needs of which the conversation filled fewer than five places sensibly:",
                "",
                *(f"- {row.need}: {row.sensible} of {K}" for row in missed.itertuples()),
                "",
            ]
        ),
        encoding="utf-8",
    )
    print((RESULTS / "conversation.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
