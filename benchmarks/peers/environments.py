"""The peers' environments, one a library, and a peer's run in its own.

Each library is installed from ``requirements/LIBRARY.txt`` into ``var/benchmarks/LIBRARY`` at its
first use, since their requirements exclude each other's (and ours).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent
PLACE = Path("var/benchmarks")
LIBRARIES = tuple(sorted(file.stem for file in (PEERS / "requirements").glob("*.txt")))


class NotInstalledError(RuntimeError):
    """A library cannot be installed on this Python; the message is pip's reason."""


def python_of(library: str) -> Path:
    """Return the Python of a library's environment, made at the first call.

    Raises:
        NotInstalledError: pip cannot install it.
    """
    place = (PLACE / library).absolute()
    python, wanted = place / "bin/python", (PEERS / f"requirements/{library}.txt").read_text()
    mark = place / "installed.txt"
    if not mark.exists() or mark.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        file = PEERS / f"requirements/{library}.txt"
        install = [python, "-m", "pip", "install", "-q", "-r", file]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [one for one in done.stderr.splitlines() if one.startswith("ERROR")]
            raise NotInstalledError("; ".join(errors[-2:]) or done.stderr[-300:])
        mark.write_text(wanted)
    return python


def limited(threads: int) -> dict[str, str]:
    """Return this process's environment variables with the number of threads set."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMBA", "LK")
    return {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in names}}


def run_peer(
    python: Path, peer: str, data: Path, out: Path, options: dict[str, Any], threads: int = 1
) -> None:
    """Fit a peer of ``run.py`` on ``data`` and write its lists and figures to ``out``.

    python: of the library's environment. Libraries write their logs into the folder of ``out``.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    given = json.dumps({**options, "threads": threads})
    if python.exists():
        python = python.absolute()
    command = [python, PEERS.absolute() / "run.py", peer, data.absolute(), out.absolute(), given]
    environment = limited(threads)
    environment.pop("PYTHONPATH", None)  # of our own packages
    done = subprocess.run(
        command, env=environment, cwd=out.parent, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{(done.stdout + done.stderr)[-3000:]}")
