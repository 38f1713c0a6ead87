"""The page of results: a table a data set, the discussion, and the figure.

In: the content of ``benchmarks/results/side_by_side.json``. Out: ``side_by_side.md`` and
``side_by_side.png``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.side_by_side.contenders import THEIRS
from benchmarks.side_by_side.quoted import QUOTED

Record = dict[str, Any]
INTRODUCTION = """# Side by side with other libraries

Made by `python -m benchmarks.side_by_side`, whose docstring gives the protocol, the tuning budget
and what is measured how. ± is half of a 95 % interval. Every list has passed the same checks (no
excluded, unknown or repeated item). Seconds and milliseconds are of one processor; "ms, all" is a
list's share of one call for all users, "ms, one" a call for one user.

![NDCG@10 against the time for a list](side_by_side.png)
"""
HEAD = [
    "| model | NDCG@10 | minus the base's (95 %; p) | recall@10 | hit rate@10 | coverage "
    "| validation NDCG@10 | tried | fit s | peak MiB | ms, all | ms, one | MB |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
]


def write(kept: dict[str, Record], folder: Path) -> None:
    """Write page and figure of all data sets; ``discussion.md`` is part of the page."""
    lines = [INTRODUCTION]
    discussion = Path(__file__).with_name("discussion.md")
    if discussion.exists():
        lines += [discussion.read_text(), ""]
    for name, found in kept.items():
        if found["records"]:
            lines += table(name, found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "side_by_side.md").write_text("\n".join(lines).rstrip() + "\n")
    draw({name: found for name, found in kept.items() if found["records"]}, folder)


def ordered(records: dict[str, Record]) -> list[tuple[str, Record]]:
    """Return the contenders with a test figure, the best first."""
    rows = [(title, one) for title, one in records.items() if "test" in one]
    return sorted(rows, key=lambda row: -row[1]["test"]["ndcg"]["mean"])


def table(name: str, found: Record) -> list[str]:
    """Return the lines about one data set."""
    data, records = found["data"], found["records"]
    rule = "left out" if data["exclude_seen"] else "allowed"
    counts = [f"{window} {data[window]['users']:,} users" for window in ("validation", "test")]
    lines = [
        f"## {name}",
        "",
        f"Split: {data['protocol']}. {data['items']:,} items, {data['test']['events']:,} training "
        f"events before the test window; {', '.join(counts)}; items that a user had: {rule}."
        + (f" Differences are paired, to {found['base']}." if found.get("base") else ""),
        "",
        *HEAD,
    ]
    lines += [row(title, one) for title, one in ordered(records)]
    chosen = [f"{title} {settings(one)}" for title, one in ordered(records) if one.get("options")]
    if chosen:
        lines += ["", f"Chosen on validation: {'; '.join(chosen)}."]
    for title, reason in found["failed"].items():
        lines += ["", f"{title} is not in the table: {reason.splitlines()[-1]}"]
    missing = [one.title for one in THEIRS if one.title not in {*records, *found["failed"]}]
    if missing:
        lines += ["", f"Not measured on this data: {', '.join(missing)}."]
    return [*lines, ""]


def settings(one: Record) -> str:
    """Return a chosen configuration in brackets."""
    return "(" + ", ".join(f"{name} {value:g}" for name, value in one["options"].items()) + ")"


def with_interval(found: Record) -> str:
    """Return a mean with half of its interval, if it has one."""
    if "low" not in found:
        return f"{found['mean']:.4f}"
    return f"{found['mean']:.4f} ± {(found['high'] - found['low']) / 2:.4f}"


def row(title: str, one: Record) -> str:
    """Return a contender's line."""
    test = one["test"]
    apart = test.get("apart")
    cells = [
        title,
        with_interval(test["ndcg"]),
        f"{apart['mean']:+.4f} ({apart['low']:+.4f} to {apart['high']:+.4f}; {apart['p']:.2g})"
        if apart
        else "",
        *(with_interval(test[name]) if name in test else "" for name in ("recall", "hit_rate")),
        f"{test['coverage']:.1%}" if "coverage" in test else "",
        f"{one['validation']['ndcg']['mean']:.4f}" if "validation" in one else "",
        str(one.get("tried", "")),
    ]
    if "seconds" in test:
        cells += [
            f"{test['seconds']:,.1f}",
            f"{test['peak_mib']:,.0f}",
            f"{test['list_ms']:.2f}",
            f"{test['single_ms']:,.2f}",
            f"{test['bytes'] / 1e6:,.1f}",
        ]
    else:
        cells += ["", "", "", "", ""]
    return f"| {' | '.join(cells)} |"


def draw(kept: dict[str, Record], folder: Path) -> None:
    """Draw NDCG@10 with its interval against the processor time of one user's list."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, max(len(kept), 1), figsize=(6.2 * max(len(kept), 1), 8.0), squeeze=False
    )
    for axis, (name, found) in zip(axes[0], kept.items(), strict=False):
        timed = [one for one in ordered(found["records"]) if "seconds" in one[1]["test"]]
        for place, (title, one) in enumerate(timed):
            test = one["test"]
            ours = one["library"] == "bowerbird"
            score = test["ndcg"]
            axis.errorbar(
                test["single_ms"],
                score["mean"],
                yerr=[[score["mean"] - score["low"]], [score["high"] - score["mean"]]],
                fmt="o" if ours else "s",
                color="tab:orange" if ours else "tab:blue",
                markersize=5,
                elinewidth=0.8,
            )
            axis.annotate(
                title.replace("Bowerbird ", ""),
                (test["single_ms"], score["mean"]),
                xytext=(-6 if place % 2 else 6, -3),
                textcoords="offset points",
                ha="right" if place % 2 else "left",
                fontsize=7,
            )
        if QUOTED in found["records"]:
            score = found["records"][QUOTED]["test"]["ndcg"]["mean"]
            axis.axhline(score, color="tab:orange", linestyle=":")
            axis.annotate(
                QUOTED, (0.02, score), xycoords=("axes fraction", "data"), fontsize=7, va="bottom"
            )
        axis.set_xscale("log")
        axis.margins(x=0.3)
        axis.set_title(name)
        axis.set_xlabel("processor milliseconds for one user's list")
        axis.set_ylabel("NDCG@10, test")
    figure.suptitle("orange circles: Bowerbird; blue squares: other libraries; 95 % intervals")
    figure.tight_layout()
    figure.savefig(folder / "side_by_side.png", dpi=110)
    plt.close(figure)
