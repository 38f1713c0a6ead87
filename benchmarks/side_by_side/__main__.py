"""Our models against other libraries, side by side: benchmarks/results/side_by_side.md.

    python -m benchmarks.side_by_side FOLDER [FOLDER ...] [--library implicit ...] [--page]

FOLDER: a shop's, after ``bowerbird run`` (the stages up to ``encode`` and ``inputs`` suffice), or
one as ``benchmarks.leave_one_out`` has. ``NAME=FOLDER`` names the data set on the page.

**Data.** Every contender gets the same training interactions, users, targets and exclusion rule, as
arrays that our own code splits. A shop is split by time, with its own rule for seen items (its
``train.exclude_seen``); targets are a user's successes in the window. Sequences are split
leave-one-out; the models of the test window learn from the validation items, too. Judged are the
users with a history before the window (``--users``: at most so many, drawn at random), since most
of the libraries have no list for a new customer. The whole catalogue is ranked. The peers get ids
and order; ours also read titles, prices, timestamps and the language model's vectors: their
advantage, and the product's. The language model's training is not in the hybrid's seconds.

**Tuning.** The budget is equal for all models of other libraries and each data set: CONFIGURATIONS
configurations, the first one fixed, the others drawn at random, or SECONDS of processor time for
fits, whichever ends first (a fit that was begun is finished). ``contenders.py`` has what is tried
and which models get fewer because a fit takes minutes. Chosen is the highest NDCG@10 on the
validation window; that configuration is fitted again for the test window and judged once. Ours are
not tuned here: they have the data set's own settings, which were chosen on the same validation
windows with more time.

**Judge.** Lists of 10 by the metrics of ``components/evaluation``, with 95 % intervals by a
bootstrap over users, and the paired difference of NDCG@10 to our hybrid (while it is not fitted, to
``cease``) with its interval and p-value (Fisher's randomisation test). A list with an excluded,
unknown or repeated item disqualifies: the page has the reason. With ``--quote`` ours are not
fitted: their figures are quoted from the page that has them for the same users and targets
(``quoted.py``), without costs and paired differences.

**Cost.** Each fit has a process of its own, one after the other, with one thread, each library in
its own environment (``var/benchmarks/LIBRARY``, made at the first use from
``benchmarks/peers/requirements``). Seconds of a fit are those of the processor; peak memory is the
process's, data and lists included; milliseconds of a list are processor time, of all users in one
call and of one user in a call; size is that of the saved model. A library that cannot be installed
is listed with the reason.

Fits are cached in ``var/benchmarks/NAME/side_by_side``, figures in
``benchmarks/results/side_by_side.json``, from which ``--page`` writes page and figure again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.leave_one_out import RESULTS
from benchmarks.peers.common import measured
from benchmarks.peers.environments import NotInstalledError, limited, python_of, run_peer
from benchmarks.side_by_side import judge, page
from benchmarks.side_by_side.contenders import BASES, HYBRID, OURS, THEIRS, Contender, title_of
from benchmarks.side_by_side.data import WINDOWS, Data, export, load, train_of
from benchmarks.side_by_side.ours import Ours
from benchmarks.side_by_side.quoted import quoted
from components.data.holdout import Window
from components.json_files import write_json

CONFIGURATIONS, SECONDS = 4, 120.0
Record = dict[str, Any]


def costs(file: Path, n_users: int) -> Record:
    """Return what a fit and its lists took, of the file that ``measured`` wrote."""
    found = np.load(file)
    return {
        "seconds": float(found["seconds"][1]),
        "clock": float(found["seconds"][0]),
        "list_ms": float(found["list_seconds"][1]) / n_users * 1000,
        "single_ms": float(found["single_seconds"][1]) * 1000,
        "peak_mib": float(found["peak"]),
        "bytes": int(found["bytes"]),
    }


def judged(data: Data, window: Window, title: str, file: Path) -> Record:
    """Check a contender's lists and return their figures and costs.

    Raises:
        ValueError: see ``judge.check``.
    """
    task, n_items = data.splits[window].task, len(data.catalogue)
    ids = np.load(file)["ids"]
    judge.check(ids, task, data.exclude_seen, n_items, title)
    return judge.figures(ids, task, n_items) | costs(file, len(task.users))


def fitted(one: Contender, options: Record, window: Window, work: Path) -> Path:
    """Return the file of a peer's lists and costs on a window, made unless it is there."""
    out = file_of(one.peer, json.dumps(options), window, work)
    if not out.exists():
        run_peer(python_of(one.library), one.peer, work / f"{window}.npz", out, options)
    return out


def file_of(name: str, options: str, window: Window, work: Path) -> Path:
    """Return where a contender's lists and costs are kept, another file for other options or
    data."""
    data = (work / f"{window}.npz").read_bytes()
    wanted = hashlib.sha256(options.encode() + data).hexdigest()[:12]
    return work / f"{window}-{name}-{wanted}.npz"


def tuned(data: Data, one: Contender, work: Path) -> Record:
    """Choose a model's configuration on validation within the budget, and judge it on test."""
    tried: list[Record] = []
    used = 0.0
    for options in one.configurations(CONFIGURATIONS):
        if used >= SECONDS:
            break
        found = judged(data, "validation", one.title, fitted(one, options, "validation", work))
        used += found["seconds"]
        tried.append({"options": options, **found})
        print(f"  {found['ndcg']['mean']:.4f} {found['seconds']:.1f} s {options}", flush=True)
    best = max(tried, key=lambda record: record["ndcg"]["mean"])
    out = fitted(one, best["options"], "test", work)
    return {
        "library": one.library,
        "options": best["options"],
        "tried": len(tried),
        "tuning_seconds": used,
        "validation": best,
        "test": judged(data, "test", one.title, out),
        "lists": out.name,
    }


def fit_ours(folder: str, users: int, name: str, window: Window, out: Path) -> None:
    """Fit one of ours in a process of its own; it writes what ``measured`` returns to ``out``."""
    command = [sys.executable, "-m", "benchmarks.side_by_side", folder, "--users", str(users)]
    command += ["--contender", name, "--window", window, "--out", str(out)]
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**limited(1), "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run(command, check=True, env=environment)


def compared(data: Data, records: dict[str, Record], work: Path) -> str:
    """Add the paired difference to one of ours to all test figures; return its title.

    That is the first of BASES which was fitted; without any, "" is returned and nothing is added.
    """
    bases = [title_of(name) for name in BASES if title_of(name) in records]
    if not bases:
        return ""
    task = data.splits["test"].task
    of_base = np.load(work / records[bases[0]]["lists"])["ids"]
    for title, record in records.items():
        file = work / record.get("lists", "")
        record["test"].pop("apart", None)
        if title != bases[0] and file.is_file():
            ids = np.load(file)["ids"]
            record["test"]["apart"] = judge.difference(ids, of_base, task)
    return bases[0]


def run(
    given: str,
    libraries: list[str],
    users: int,
    quote: bool,
    results: Path,
    peers: list[str] | None = None,
) -> None:
    """Measure all contenders on one data set; figures that are in ``results`` are kept."""
    data = named(given, users)
    work = Path("var/benchmarks") / data.name / "side_by_side"
    for window in WINDOWS:
        export(data, window, work / f"{window}.npz")
    kept = json.loads(results.read_text()) if results.exists() else {}
    found = kept.setdefault(data.name, {"records": {}, "failed": {}})
    found["data"] = data.summary()
    records, failed = found["records"], found["failed"]

    def save() -> None:
        found["base"] = compared(data, records, work)
        others = json.loads(results.read_text()) if results.exists() else {}
        write_json(results, others | {data.name: found})
        page.write(others | {data.name: found}, RESULTS)

    if "bowerbird" in libraries and quote:
        records |= quoted(data, RESULTS)
    for name in OURS if "bowerbird" in libraries and not quote else ():
        title = title_of(name)
        windows = ("test",) if name == HYBRID else WINDOWS
        if title in records:
            continue
        print(title, flush=True)
        record: Record = {"library": "bowerbird"}
        for window in windows:
            out = file_of(name, repr((data.settings.train, data.settings.rank)), window, work)
            if not out.exists():
                fit_ours(given, users, name, window, out)
            record["lists"] = out.name  # of the last window, test
            record[window] = judged(data, window, title, out)
        records[title] = record
        save()
    for one in THEIRS:
        if one.library not in libraries or one.title in records:
            continue
        if peers is not None and one.peer not in peers:
            continue
        n_items = len(data.catalogue)
        if one.most_items is not None and n_items > one.most_items:
            failed[one.title] = f"it needs too much memory for {n_items:,} items"
            continue
        print(one.title, flush=True)
        try:
            records[one.title] = tuned(data, one, work)
            failed.pop(one.title, None)
        except (NotInstalledError, RuntimeError, ValueError) as error:
            failed[one.title] = str(error)
            print(f"{one.title}: {error}", flush=True)
        save()
    save()


def named(given: str, users: int) -> Data:
    """Return the data set of a command line's ``FOLDER`` or ``NAME=FOLDER``."""
    name, _, folder = given.rpartition("=")
    data = load(Path(folder), users)
    return replace(data, name=name) if name else data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", metavar="FOLDER")
    every = sorted({"bowerbird", *(one.library for one in THEIRS)})
    parser.add_argument("--library", nargs="*", default=every, choices=every)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--peer", nargs="*", choices=[one.peer for one in THEIRS])
    parser.add_argument("--quote", action="store_true", help="fit none of ours, see above")
    parser.add_argument("--page", action="store_true", help="write page and figure, fit nothing")
    parser.add_argument("--contender", choices=OURS, help="fit this one here (calls itself)")
    parser.add_argument("--window", choices=WINDOWS, default="test")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = RESULTS / "side_by_side.json"
    if given.page:
        page.write(json.loads(results.read_text()), RESULTS)
    elif not given.folders:
        parser.error("name a folder")
    elif given.contender:
        data = named(given.folders[0], given.users)
        split = data.splits[given.window]
        ours = Ours(given.contender, data, given.window)
        found = measured(ours, train_of(split), split.task.users, data.exclude_seen)
        np.savez(given.out, **found)
    else:
        for folder in given.folders:
            run(folder, given.library, given.users, given.quote, results, given.peer)


if __name__ == "__main__":
    main()
