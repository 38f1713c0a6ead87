"""The page of a replay: table and figure from the lives of the strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from benchmarks.replay.shop import Shop
from benchmarks.replay.strategies import ALARM, PROMOTED, REFUSED, Life
from benchmarks.replay.training import SHARED
from components.arrays import DoubleArray
from components.evaluation.protocol import bootstrap_means, holm, interval, paired_p_value

SAMPLES = 2000
COMPARED = {"frozen": 1.30, "old": 1.25, "popularity": 1.5}
"""Aims of the closed loop: its mean NDCG@10 as a multiple of another strategy's."""


@dataclass(frozen=True)
class Part:
    """A run of weeks in which strategies are compared, each with the same customers.

    ndcg: a column for each strategy, a row for each customer and week; index: week, customer.
    """

    ndcg: pd.DataFrame

    def means(self) -> pd.Series:
        """Return the mean NDCG of each strategy over customers and weeks."""
        return self.ndcg.mean()

    def ratio(self, first: str, second: str) -> tuple[float, float, float]:
        """Return the ratio of two means with its paired bootstrap interval, customers resampled.

        A customer of several weeks is drawn with all of them: they are not independent.
        """
        sums = self.ndcg[[first, second]].groupby(level="customer").sum().to_numpy()
        drawn = bootstrap_means(sums, SAMPLES, seed=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = np.nanquantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
            return float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high)


def part_of(lives: Sequence[Life], weeks: range) -> Part:
    """Return those of ``weeks`` that all of ``lives`` reached."""
    reached = min(len(life.judged) for life in lives)
    frames = [
        pd.DataFrame(
            {life.name: life.judged[week]["ndcg"] for life in lives},
            index=pd.MultiIndex.from_product(
                [[week], lives[0].judged[week]["users"]], names=["week", "customer"]
            ),
        )
        for week in weeks
        if week < reached
    ]
    names = [life.name for life in lives]
    return Part(pd.concat(frames) if frames else pd.DataFrame(columns=names))


def chosen(lives: Sequence[Life], part: Part) -> Life | None:
    """Return the closed loop with the highest mean in ``part``."""
    closed = [life for life in lives if life.strategy.closed]
    if not closed or part.ndcg.empty:
        return None
    means = part.means()
    return max(closed, key=lambda life: means[life.name])


def worse_weeks(part: Part, name: str, other: str) -> tuple[list[int], list[int]]:
    """Return the weeks in which a strategy's 95 % interval lies below another strategy's, and
    those of them that are significant after Holm's correction for the number of weeks."""
    weeks, below, p_values = [], [], []
    for week, rows in part.ndcg.groupby(level="week"):
        first, second = rows[name].to_numpy(), rows[other].to_numpy()
        weeks.append(int(week))
        below.append(interval(first - second, SAMPLES, seed=0)[1] < 0)
        p_values.append(paired_p_value(second, first))
    corrected = holm(np.array(p_values))
    worse = [week for week, low in zip(weeks, below, strict=True) if low]
    return worse, [w for w, p in zip(weeks, corrected, strict=True) if w in worse and p < 0.05]


def write(shop: Shop, lives: Sequence[Life], weeks: int, every: int, out: Path) -> None:
    """Write replay.md and replay.png to ``out``.

    weeks: that were to be lived through. every: see ``strategies``.
    """
    # A strategy may be one week ahead of the others of its run.
    furthest = max(len(life.judged) for life in lives)
    behind = [life for life in lives if len(life.judged) < furthest - (furthest < weeks)]
    lives = [life for life in lives if life not in behind]
    reached = min(len(life.judged) for life in lives)
    first, last = range(weeks // 2), range(weeks // 2, weeks)
    choice, reported = part_of(lives, first), part_of(lives, last)
    best = chosen(lives, choice)
    out.mkdir(parents=True, exist_ok=True)
    _draw(shop, lives, best, out / "replay.png")
    epochs = shop.settings.train.sequential.epochs
    users = [len(judged["users"]) for judged in lives[0].judged]
    lines = [
        "# A year replayed",
        "",
        f"`python -m benchmarks.replay --weeks {weeks} --every {every} --epochs {epochs} --trees "
        f"{shop.settings.rank.trees}`: the embedded shop lives through its second year week by "
        "week. At the start of each week everything is made from the lines before it: tables, "
        "models, refreshes, drift verdicts, promotions, by the functions of the stages. The "
        "lists of each week are compared with what its customers then "
        f"bought that was new to them: NDCG@10, {np.mean(users):.0f} customers with a history a "
        "week.",
        "",
        *_unfinished(reached, weeks, behind),
        _conditions(shop, every),
        "",
        "![NDCG@10 by week](replay.png)",
        "",
    ]
    for title, part, own in (
        (f"Weeks 1 to {weeks // 2}: for choosing", choice, first),
        (f"Weeks {weeks // 2 + 1} to {weeks}: for reporting", reported, last),
    ):
        if part.ndcg.empty:
            lines += [f"## {title}", "", "Not lived through yet.", ""]
            continue
        lines += [f"## {title}", "", *_table(lives, part, own, best), ""]
    if best is not None:
        lines += _verdict(lives, best, reported if len(reported.ndcg) else choice)
    lines += ["", "## Trainings", "", *_trainings(shop, lives), ""]
    (out / "replay.md").write_text("\n".join(lines), encoding="utf-8")


def _unfinished(reached: int, weeks: int, behind: Sequence[Life]) -> list[str]:
    """Return a paragraph that says what of the run is missing, empty if nothing is."""
    missing = [f"{life.strategy.title} ({len(life.judged)} weeks)" for life in behind]
    left_out = f" Left out, not that far yet: {', '.join(missing)}." if missing else ""
    if reached == weeks and not missing:
        return []
    return [f"**Partial: {reached} of {weeks} weeks so far.**{left_out}", ""]


def _conditions(shop: Shop, every: int) -> str:
    """Return what a reader must know of the run, as one paragraph."""
    train = shop.settings.train
    sequence = f", SASRec with {train.sequential.epochs} epochs" if SHARED in train.names else ""
    trees = shop.settings.rank.trees
    after_alarm = f", and begins in a week that is a multiple of {every}" if every > 1 else ""
    sentences = (
        f"The recipe is that of params.yaml: {len(train.names)} candidates{sequence} and the "
        f"ranker with at most {trees} trees; product texts are encoded with the packaged encoder, "
        "not trained on the shop's texts.",
        "Each training judges a model that was fitted 28 days back and, if the promotion rule "
        "passes it, serves the same recipe fitted on all data; a refused training leaves the "
        "champion in service.",
        "A training on drift follows an alarm of the week before" + after_alarm + ".",
        "All models get the products that were added since they were fitted, as after "
        "`PUT /items`.",
        "SASRec of a moment is fitted once and used by all trainings that need it.",
        "CPU minutes are what each strategy would spend alone, on one thread, without ingestion "
        "and validation, which were done once for both years.",
    )
    return " ".join(sentences)


def _table(lives: Sequence[Life], part: Part, weeks: range, best: Life | None) -> list[str]:
    """Return the rows of a table of strategies.

    weeks: of the part; of those without customers only trainings and CPU time count.
    """
    with_customers = sorted(set(part.ndcg.index.get_level_values("week")))
    means = part.means()
    rows = [
        "| trained | NDCG@10 | : never again | coverage | new products | new customers' NDCG@10 "
        "| trainings promoted / refused | alarms | CPU minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for life in lives:
        judged = [life.judged[week] for week in with_customers]
        counts = {
            what: sum(event["week"] in weeks and event["what"] == what for event in life.events)
            for what in (PROMOTED, REFUSED, ALARM)
        }
        new = np.array([one["new_customers"] for one in judged])
        of_new = np.array([one["new_customers_ndcg"] for one in judged])
        ratio = ""
        if "frozen" in means and life.name != "frozen":
            ratio = "{:.2f} ({:.2f} – {:.2f})".format(*part.ratio(life.name, "frozen"))
        title = f"**{life.strategy.title}**" if life is best else life.strategy.title
        rows.append(
            f"| {title} | {means[life.name]:.4f} | {ratio} "
            f"| {np.mean([one['coverage'] for one in judged]):.3f} "
            f"| {np.mean([one['new_products'] for one in judged]):.3f} "
            f"| {(new @ of_new) / max(new.sum(), 1):.4f} "
            f"| {counts[PROMOTED]} / {counts[REFUSED]} | {counts[ALARM]} "
            f"| {sum(life.cpu[weeks.start : weeks.stop]) / 60:.1f} |"
        )
    return rows


def _verdict(lives: Sequence[Life], best: Life, part: Part) -> list[str]:
    names = {life.name: life for life in lives}
    weeks = part.ndcg.index.get_level_values("week")
    lines = [
        "## Aims",
        "",
        f"The closed loop is *{best.strategy.title}*, the best of the first half. Ratios over "
        f"weeks {weeks.min() + 1} to {weeks.max() + 1}.",
        "",
        "| closed loop : | ratio | 95 % interval | aim |",
        "|---|---|---|---|",
    ]
    for other, aim in COMPARED.items():
        if other in names:
            ratio, low, high = part.ratio(best.name, other)
            title = names[other].strategy.title
            lines.append(f"| {title} | {ratio:.2f} | {low:.2f} – {high:.2f} | {aim:.2f} |")
    if "frozen" in names:
        worse, significant = worse_weeks(part, best.name, "frozen")
        listed = ", ".join(str(week + 1) for week in worse) or "none"
        lines += [
            "",
            f"Weeks in which the closed loop's interval lies below the frozen model's: {listed}; "
            f"after Holm's correction for the number of weeks: {len(significant)}.",
        ]
    return lines


def _trainings(shop: Shop, lives: Sequence[Life]) -> list[str]:
    rows = ["| trained | week | | why |", "|---|---|---|---|"]
    for life in lives:
        for event in life.events:
            day = shop.start + pd.Timedelta(weeks=event["week"])
            rows.append(
                f"| {life.strategy.title} | {event['week'] + 1} ({day:%Y-%m-%d}) "
                f"| {event['what']} | {event['why']} |"
            )
    return rows


def _draw(shop: Shop, lives: Sequence[Life], best: Life | None, file: Path) -> None:
    """Draw NDCG by week with intervals, and all strategies relative to the frozen one."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 8), sharex=True, layout="constrained")
    colours = dict(zip((life.name for life in lives), plt.get_cmap("tab10").colors, strict=False))
    shown = [life for life in lives if life.name in COMPARED or life is best]
    for life in shown:
        days = [shop.start + pd.Timedelta(weeks=week) for week in range(len(life.judged))]
        values = [np.array(judged["ndcg"]) for judged in life.judged]
        low, high = np.array([interval(one, SAMPLES, seed=0) for one in values]).T
        colour = colours[life.name]
        above.plot(
            days, [v.mean() for v in values], "o-", ms=3, color=colour, label=life.strategy.title
        )
        above.fill_between(days, low, high, color=colour, alpha=0.15, lw=0)
    if best is not None:
        for what, marker in ((PROMOTED, "^"), (REFUSED, "v")):
            events = [event["week"] for event in best.events if event["what"] == what]
            if not events:
                continue
            days = [shop.start + pd.Timedelta(weeks=week) for week in events]
            heights = [np.mean(best.judged[w]["ndcg"]) for w in events if w < len(best.judged)]
            above.plot(
                days[: len(heights)], heights, marker, ms=9, mfc="none", color="black",
                label=f"{what} ({best.strategy.title})",
            )  # fmt: skip
    alarms = {e["week"] for life in lives for e in life.events if e["what"] == ALARM}
    for n, week in enumerate(sorted(alarms)):
        day = shop.start + pd.Timedelta(weeks=week)
        above.axvline(
            day, 0, 0.04, color="red", lw=2, label="drift alarm (on drift only)" if not n else None
        )
    above.set_ylabel("NDCG@10, 95 % intervals")
    above.set_ylim(bottom=0)
    above.legend(frameon=False, ncols=2, fontsize=8)
    frozen = next((life for life in lives if life.name == "frozen"), None)
    if frozen is not None:
        base = _smooth(frozen)
        for life in lives:
            line = _smooth(life)
            n = min(len(line), len(base))
            days = [shop.start + pd.Timedelta(weeks=week) for week in range(n)]
            below.plot(
                days, line[:n] / base[:n], color=colours[life.name],
                lw=2.5 if life is best else 1.2, label=life.strategy.title,
            )  # fmt: skip
        below.set_ylabel("mean of 5 weeks : never again")
        below.legend(frameon=False, ncols=2, fontsize=8)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _smooth(life: Life) -> DoubleArray:
    """Return the mean NDCG of customers and weeks, over up to five weeks around each."""
    weeks = pd.DataFrame([(np.sum(one["ndcg"]), len(one["ndcg"])) for one in life.judged])
    sums = weeks.rolling(5, center=True, min_periods=1).sum()
    result: DoubleArray = (sums[0] / sums[1]).to_numpy()
    return result
