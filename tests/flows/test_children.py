"""The processes of ``bowerbird ui`` end with it, and it serves by its own servers only."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest

from flows.children import MARK, ended_with_this_process, marked
from flows.servers import wait_for
from tests.conftest import REPOSITORY
from tests.processes import free_port, wait_until

PARENT = """
import subprocess, sys, time
from flows.children import ended_with_this_process
with ended_with_this_process():
    # In a session of its own, as the servers are, and with a child, as a run and its stage.
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen(
        [sys.executable, "-c", grandchild], stdin=subprocess.PIPE, start_new_session=True
    )
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_children_end_with_a_command_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    (grandchild,) = wait_until(child.children)
    parent.kill()
    _, alive = psutil.wait_procs([child, grandchild], timeout=30)
    assert alive == []
    parent.communicate()


def test_children_end_with_a_command_that_ends() -> None:
    with ended_with_this_process():
        mark = os.environ[MARK]
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert [one.pid for one in marked(MARK, mark)] == [child.pid]
    assert child.wait(timeout=0) != 0
    assert MARK not in os.environ


def test_another_programs_answer_is_not_taken_for_ones_own(tmp_path: Path) -> None:
    """The server of another shop took the port in the moment before."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    own = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(own)]
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as other,
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process,
    ):
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            wait_for(f"http://127.0.0.1:{own}/", process, tmp_path / "log")
            taken = f"http://127.0.0.1:{other.server_port}/"
            assert httpx.get(taken).status_code == 200
            with pytest.raises(RuntimeError, match=f"another program answers at {taken}"):
                wait_for(taken, process, tmp_path / "log", seconds=5)
        finally:
            other.shutdown()
            process.kill()
