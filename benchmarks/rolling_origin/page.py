"""The page of a rolling origin: tables and a figure from the records of the cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.replay.work import Record
from benchmarks.rolling_origin.measure import BASELINES, FREQUENCY, HYBRID, RECENT, K

COLOURS = {HYBRID: "tab:red", RECENT: "tab:blue", FREQUENCY: "tab:cyan"}
MODES = {"without": "products new to the customer", "with": "with repeat purchases"}


@dataclass(frozen=True)
class Part:
    """The records of a shop's cuts in one mode, oldest cut first. currency: of the shop."""

    shop: str
    mode: str
    currency: str
    records: Sequence[Record]

    @property
    def title(self) -> str:
        return f"{self.shop}, {MODES[self.mode]}"

    @property
    def baselines(self) -> list[str]:
        """The personal frequencies. Without repeats both are the popularity of all time: one of
        them is shown."""
        return list(BASELINES) if self.mode == "with" else [FREQUENCY]

    @property
    def names(self) -> list[str]:
        """The models: single ones, baselines, the hybrid last."""
        found = list(self.records[0]["models"])
        singles = [name for name in found if name not in (HYBRID, *BASELINES)]
        return [*singles, *self.baselines, HYBRID]

    @property
    def median(self) -> Record:
        """The record of the cut with the median ratio of the hybrid to the best single model; of
        an even number the lower one."""
        by_ratio = sorted(
            self.records, key=lambda one: float(one["hybrid_to"]["best single"]["ndcg"]["ratio"])
        )
        return by_ratio[(len(by_ratio) - 1) // 2]


def date(seconds: int) -> str:
    return str(datetime.fromtimestamp(seconds, UTC).date())


def figure_of(found: Record, digits: int = 4) -> str:
    """Return a mean with its interval."""
    if not found["users"]:
        return ""
    mean, low, high = (f"{found[name]:,.{digits}f}" for name in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def ratio_of(found: Record) -> str:
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f}), p {found['p']:.1g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def ratios(part: Part) -> list[str]:
    """Return the hybrid through the best single model and the baselines, by cut."""
    has_baskets = "basket_recall" in part.records[0]["hybrid_to"][RECENT]
    baseline = part.baselines[-1]
    head = [
        "cut",
        "customers",
        "best single model",
        "hybrid : it, NDCG",
        f"hybrid : {baseline}, NDCG",
        f"hybrid : best single, revenue@{K}",
        *([f"hybrid : {RECENT}, basket recall"] if has_baskets else []),
        *(["recency, chosen on validation"] if baseline == RECENT else []),
    ]
    rows = [
        [
            date(one["cut"]),
            f"{one['models'][HYBRID]['ndcg']['users']:,}",
            one["best_single"],
            ratio_of(one["hybrid_to"]["best single"]["ndcg"]),
            ratio_of(one["hybrid_to"][baseline]["ndcg"]),
            ratio_of(one["hybrid_to"]["best single"]["revenue"]),
            *([ratio_of(one["hybrid_to"][RECENT]["basket_recall"])] if has_baskets else []),
            *([one["recency"]] if baseline == RECENT else []),
        ]
        for one in part.records
    ]
    return table(head, rows)


def accuracy(part: Part, record: Record) -> list[str]:
    """Return the table of all models at one cut."""
    money = f"revenue@{K}, {part.currency} a customer"
    head = ["model", f"NDCG@{K}", f"recall@{K}", f"hit rate@{K}", money]
    shown: list[tuple[str, int]] = [("ndcg", 4), ("recall", 4), ("hit_rate", 3), ("revenue", 2)]
    rows = [
        [name, *(figure_of(record["models"][name][metric], digits) for metric, digits in shown)]
        for name in part.names
    ]
    return table(head, rows)


def new_and_returning(part: Part, kind: Literal["new", "returning"]) -> list[str]:
    """Return NDCG of the customers without (``new``) or with a history before the cut, by cut."""
    cuts = [
        f"{date(one['cut'])}, {one['models'][HYBRID][kind]['users']:,} {kind}"
        for one in part.records
    ]
    rows = [
        [name, *(figure_of(one["models"][name][kind]) for one in part.records)]
        for name in part.names
    ]
    return table(["model", *cuts], rows)


def by_week(part: Part) -> list[str]:
    """Return NDCG by week after the cut, the mean over the cuts."""
    n_weeks = len(part.records[0]["models"][HYBRID]["weeks"])
    head = ["model", *(f"week {n + 1}" for n in range(n_weeks))]
    rows = [[name, *(f"{value:.4f}" for value in _of_weeks(part, name)[0])] for name in part.names]
    return table(head, rows)


def _of_weeks(part: Part, name: str) -> np.ndarray:
    """Return float64 (3, weeks): mean, low and high of NDCG, averaged over the cuts."""
    weeks = [
        [[week[key] for week in one["models"][name]["weeks"]] for key in ("mean", "low", "high")]
        for one in part.records
    ]
    return np.nanmean(np.array(weeks, dtype=np.float64), axis=0)


def baskets(part: Part, record: Record) -> list[str]:
    head = ["model", "recall at the basket's size", "F1 at the customer's usual size"]
    rows = [
        [
            name,
            *(figure_of(record["models"][name]["basket"][metric]) for metric in ("recall", "f1")),
        ]
        for name in part.names
    ]
    return table(head, rows)


def calibration(part: Part, record: Record) -> list[str]:
    head = [
        "model",
        "predicted",
        "bought",
        "calibration error",
        "Brier score",
        "of the base rate",
        "gain over it",
    ]
    rows = []
    for name in part.names:
        one = record["models"][name]["calibration"]
        skill = one["skill"]
        rows.append(
            [
                name,
                *(f"{one[key]:.4f}" for key in ("predicted", "happened", "error")),
                *(f"{one[key]:.5f}" for key in ("brier", "base_brier")),
                f"{skill['mean']:+.1%} ({skill['low']:+.1%} to {skill['high']:+.1%})",
            ]
        )
    return table(head, rows)


def section(part: Part) -> list[str]:
    """Return the section of a shop and mode."""
    median = part.median
    when = f"Cut of {date(median['cut'])}"
    lines = [
        f"## {MODES[part.mode].capitalize()}",
        "",
        *ratios(part),
        "",
        f"{when} (median ratio; the customers spent {median['spent']:,.2f} {part.currency} on "
        "average on their targets):",
        "",
        *accuracy(part, median),
        "",
        f"NDCG@{K} of customers who are new at the cut, and of those who return:",
        "",
        *new_and_returning(part, "new"),
        "",
        *new_and_returning(part, "returning"),
        "",
        f"NDCG@{K} by week after the cut, mean of the cuts; histories up to the week:",
        "",
        *by_week(part),
        "",
    ]
    if "basket" in median["models"][HYBRID]:
        users = median["models"][HYBRID]["basket"]["recall"]["users"]
        lines += [
            f"{when}: the next order of {users:,} customers with a history:",
            "",
            *baskets(part, median),
            "",
        ]
    return [
        *lines,
        f"{when}: probability that a customer with a history buys a listed product within the "
        "window:",
        "",
        *calibration(part, median),
        "",
    ]


def draw(parts: Sequence[Part], file: Path) -> None:
    """Draw NDCG by cut, by week, and the reliability: a row for each part."""
    figure, axes = plt.subplots(
        len(parts), 3, figsize=(13, 3.4 * len(parts)), squeeze=False, layout="constrained"
    )
    panels: tuple[Callable[[Part, Axes], None], ...] = (_draw_cuts, _draw_weeks, _draw_reliability)
    for part, row in zip(parts, axes, strict=True):
        for panel, axis in zip(panels, row, strict=True):
            panel(part, axis)
            axis.grid(alpha=0.3)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _drawn(part: Part) -> list[str]:
    """Return the models that have a colour: the hybrid, the baselines, the best single one."""
    return [part.median["best_single"], *part.baselines, HYBRID]


def _draw_cuts(part: Part, axis: Axes) -> None:
    places = np.arange(len(part.records))
    drawn = _drawn(part)
    for name in part.names:
        found = [one["models"][name]["ndcg"] for one in part.records]
        means, low, high = (
            np.array([one[key] for one in found]) for key in ("mean", "low", "high")
        )
        if name in drawn:
            axis.errorbar(
                places + 0.06 * drawn.index(name),  # next to each other
                means,
                [means - low, high - means],
                marker="o",
                capsize=3,
                color=COLOURS.get(name, "tab:green"),
                label=name,
            )
        else:
            axis.plot(places, means, color="0.7", linewidth=1)
    axis.set_xticks(places, [date(one["cut"]) for one in part.records])
    axis.set_xlim(-0.5, len(places) - 0.5)
    axis.set_title(part.title, fontsize=10, loc="left")
    axis.set_xlabel("cut (grey: the other models)")
    axis.set_ylabel(f"NDCG@{K} of the window")
    axis.set_ylim(0, 1.3 * axis.get_ylim()[1])
    axis.legend(fontsize=7, loc="upper left", ncols=2)


def _draw_weeks(part: Part, axis: Axes) -> None:
    for name in _drawn(part):
        means, low, high = _of_weeks(part, name)
        weeks = np.arange(1, len(means) + 1)
        colour = COLOURS.get(name, "tab:green")
        axis.plot(weeks, means, marker="o", color=colour, label=name)
        axis.fill_between(weeks, low, high, color=colour, alpha=0.12)
    axis.set_xticks(weeks)
    axis.set_xlabel("week after the cut (mean of the cuts)")
    axis.set_ylabel(f"NDCG@{K} of the week")
    axis.set_ylim(bottom=0)


def _draw_reliability(part: Part, axis: Axes) -> None:
    top = 0.0
    for number, one in enumerate(part.records):
        predicted, happened, _ = one["models"][HYBRID]["calibration"]["curve"]
        top = max(top, *predicted, *happened)
        axis.plot(
            predicted,
            happened,
            marker="o",
            color="tab:red",
            alpha=(number + 1) / len(part.records),
            label=f"cut {date(one['cut'])}",
        )
    axis.plot([0, top], [0, top], color="0.5", linestyle="--", linewidth=1)
    axis.set_xlabel("predicted probability of a purchase (hybrid)")
    axis.set_ylabel("share that was bought")
    axis.legend(fontsize=7)


def write(shop: str, parts: Sequence[Part], conditions: str, out: Path) -> None:
    """Write page and figure of a shop to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    name = f"rolling_origin_{shop}"
    draw(parts, out / f"{name}.png")
    lines = [
        f"# Rolling origin: {shop}",
        "",
        "Made by `python -m benchmarks.rolling_origin`, whose docstring gives the protocol. "
        f"{conditions}",
        "",
        f"![NDCG by cut, by week after the cut, and reliability]({name}.png)",
        "",
    ]
    for part in parts:
        lines += section(part)
    (out / f"{name}.md").write_text("\n".join(lines), encoding="utf-8")
