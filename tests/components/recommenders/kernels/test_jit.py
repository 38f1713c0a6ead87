"""Compiled loops release the interpreter's lock."""

from __future__ import annotations

import threading
import time

import numpy as np

from components.recommenders.kernels.jit import compiled


@compiled
def spin(n):  # type: ignore[no-untyped-def]
    total = 0.0
    for step in range(n):
        total += np.sqrt(step)
    return total


def test_it_computes_what_python_does() -> None:
    assert abs(spin(1000) - sum(np.sqrt(step) for step in range(1000))) < 1e-6


def test_other_threads_go_on_while_it_runs() -> None:
    spin(1)
    done = threading.Event()

    def run() -> None:
        spin(400_000_000)
        done.set()

    thread = threading.Thread(target=run)
    thread.start()
    while_running = 0
    while not done.is_set():
        time.sleep(0.001)
        while_running += 1
    thread.join()
    assert while_running > 20
