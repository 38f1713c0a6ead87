"""The page of an audit.

In: the parts' results. Out: Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

PARTS = ("features", "rare", "seeds", "texts", "independent", "targets", "ties", "ids", "codes")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines, an empty line after it."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def within(one: dict[str, float], key: str = "ndcg@10") -> str:
    """Return a figure with its interval."""
    return f"{one[key]:.4f} ({one['low']:.4f} to {one['high']:.4f})"


def p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def text(name: str, found: dict[str, Any], users: int, of_users: int) -> str:
    """Return the page. found: by part, see ``__main__``; parts may be missing. users: that were
    ranked, of so many."""
    part = "" if users == of_users else f" {users:,} of {of_users:,} users, drawn at random: the "
    part += "ranker learned from their validation items, and they are ranked." if part else ""
    lines = [
        f"# Audit of the leave-one-out figures: {name}",
        "",
        "Made by `python -m benchmarks.audit`, whose docstring gives the protocol. Figures are "
        "NDCG@10 with 95 % intervals (bootstrap over users). Choices made before the test items "
        f"were read: `audit_{name}_choices.json`.{part}",
        "",
    ]
    sections: dict[Callable[..., list[str]], list[str]] = {
        _headline: ["features"],
        _targets: ["targets"],
        _features: ["features", "rare"],
        _ids: ["ids"],
        _codes: ["codes"],
        _ties: ["ties"],
        _texts: ["texts"],
        _independent: ["independent"],
        _peer: ["peer"],
        _seeds: ["seeds"],
    }
    for section, parts in sections.items():
        if all(part in found for part in parts):
            lines += section(*(found[part] for part in parts))
    missing = [part for part in PARTS if part not in found]
    if missing:
        lines += [f"Not computed yet: {', '.join(missing)}.", ""]
    return "\n".join(lines)


def _headline(features: list[dict[str, Any]]) -> list[str]:
    forms = list(dict.fromkeys(row["form"] for row in features))
    rows = []
    for title, group in (
        ("hybrid", ""),
        ("hybrid without the features that tell time", "what tells time"),
        ("hybrid without all statistics of the item", "all statistics of the item"),
    ):
        each = {row["form"]: row for row in features if row["without"] == group}
        rows.append(
            [title, *(f"{within(each[form])}, {each[form]['hr@10']:.4f}" for form in forms)]
        )
    return table(["NDCG@10, HR@10", *(f"{form} the validation item" for form in forms)], rows)


def _targets(found: dict[str, Any]) -> list[str]:
    leaks = [row["model"] for row in found["rows"] if row["leak"]]
    kept = f" Not fitted again: {', '.join(found['kept'])}." if found["kept"] else ""
    return [
        "## Targets",
        "",
        "Each test item is replaced by one drawn evenly from those that the user does not have, "
        "and everything is learned again. Byte for byte different (training data, models, item "
        f"statistics, ranker): {', '.join(found['changed']) or 'nothing'}.{kept} The lists' "
        "figures on their own targets and on these; chance is computed; p is one-sided. Above "
        f"chance: {', '.join(leaks) or 'none'}.",
        "",
        *table(
            ["model", "own", "redrawn", "chance", "p"],
            [
                [
                    row["model"],
                    f"{row['own']:.4f}",
                    *(within(row), f"{row['chance']:.4f}", p_value(row["p"])),
                ]
                for row in found["rows"]
            ],
        ),
    ]


def _features(features: list[dict[str, Any]], rare: list[dict[str, Any]]) -> list[str]:
    return [
        "## Features of the ranker",
        "",
        "The ranker trained without groups of its features, over the same candidates and with as "
        "many trees; p against the whole ranker (paired).",
        "",
        *table(
            ["form", "without", "NDCG@10", "HR@10", "p"],
            [
                [
                    row["form"],
                    row["without"] or "–",
                    within(row),
                    f"{row['hr@10']:.4f}",
                    p_value(row["p"]) if row["without"] else "",
                ]
                for row in sorted(features, key=lambda row: row["form"], reverse=True)
            ],
        ),
        "In a 5-core every item has five events, so an item with fewer in the training data is a "
        "target of somebody. By an item's events in the training data without validation and test "
        "items:",
        "",
        *table(
            ["events", "items", "test targets", "listed items", "NDCG@10 of these targets"],
            [
                [
                    row["events"],
                    *(f"{100 * row[key]:.1f} %" for key in ("items", "targets", "listed")),
                    f"{row['ndcg']:.4f}",
                ]
                for row in rare
            ],
        ),
    ]


def _ids(ids: dict[str, Any]) -> list[str]:
    return [
        "## Ids",
        "",
        "Share of a user's pairs of purchases that ascend (0.5: the order says nothing), in the "
        "training data:",
        "",
        *table(
            ["order", "pairs", "adjacent", "four apart"],
            [
                [row["order"], f"{row['pairs']:,}", f"{row['adjacent']:.3f}", f"{row['far']:.3f}"]
                for row in ids["ascending"]
            ],
        ),
        "Lists of the ids that follow the newest item's. Models have the row as an item's code, "
        "and never the item id:",
        "",
        *table(
            ["lists", "NDCG@10", "chance", "p"],
            [
                [row["order"], within(row), f"{row['chance']:.4f}", p_value(row["p"])]
                for row in ids["readers"]
            ],
        ),
    ]


def _codes(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "Item codes in a random order, everything fitted again (the hybrid is of these models):",
        "",
        *table(
            ["model", "codes of the data", "random codes", "users with the same figure", "p"],
            [
                [
                    row["model"],
                    f"{row['before']:.4f}",
                    within(row),
                    f"{100 * row['same']:.2f} %",
                    p_value(row["p"]),
                ]
                for row in rows
            ],
        ),
    ]


def _ties(ties: dict[str, Any]) -> list[str]:
    tied = (
        f"{100 * ties['tied']:.1f} % of the users bought the newest two items on one day; these "
        "are exchanged."
        if ties["known"]
        else "The data has no timestamps, so ties are not known: the newest two items of all users "
        "are exchanged, the most that ties could do."
    )
    return [
        "## Ties",
        "",
        f"{tied} Models fitted without both; p of the difference of the two orders (paired).",
        "",
        *table(
            ["model", "order of the data", "exchanged", "drawn at random", "p"],
            [
                [
                    row["model"],
                    *(within(row[key]) for key in ("given", "swapped", "shuffled")),
                    p_value(row["p"]),
                ]
                for row in ties["rows"]
            ],
        ),
    ]


def _texts(found: dict[str, Any]) -> list[str]:
    columns = "; ".join(f"{file}: {', '.join(names)}" for file, names in found["columns"].items())
    alone = "are the titles alone" if found["titles alone"] else "are more than the titles"
    return [
        "## Texts",
        "",
        f"The folder has {columns}. The texts that models read {alone}. Users by the highest "
        "cosine (TF-IDF of words) between the titles of the target and of an item of the history:",
        "",
        *table(
            ["form", "cosine from", "users", "their NDCG@10", "the others'"],
            [
                [
                    form,
                    f"{row['threshold']:.1f}",
                    f"{100 * row['share']:.1f} %",
                    f"{row['near']:.4f}",
                    within(row, "others"),
                ]
                for form, rows in found["rows"].items()
                for row in rows
            ],
        ),
    ]


def _independent(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "## Independent evaluation",
        "",
        "Means of trec_eval (through ir_measures) over the written lists; the greatest difference "
        f"from ours is {max(row['gap'] for row in rows):.0e}.",
        "",
        *table(
            ["form", "model", "NDCG@10", "HR@10"],
            [
                [row["form"], row["model"], f"{row['ndcg@10']:.4f}", f"{row['hr@10']:.4f}"]
                for row in rows
            ],
        ),
    ]


def _peer(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "RecTools' models and ours with the same definition and parameters, fitted with the "
        "validation items of the same files, their lists evaluated by the same code:",
        "",
        *table(
            ["model", "RecTools", "ours", "p"],
            [
                [row["model"], within(row["theirs"]), within(row["ours"]), p_value(row["p"])]
                for row in rows
            ],
        ),
    ]


def _seeds(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "## Seeds",
        "",
        *table(
            ["form", "fitted again", "seed", "NDCG@10", "HR@10"],
            [
                [row["form"], row["fitted"], str(row["seed"]), within(row), f"{row['hr@10']:.4f}"]
                for row in sorted(rows, key=lambda row: row["form"], reverse=True)
            ],
        ),
    ]
