"""A PostgreSQL server of our own, which can be stopped, paused and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import sqlalchemy as sa


def postgres_programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, None where they are not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    return found[-1].parent if found else Path(which).parent if which else None


class Postgres:
    """``with Postgres(programs) as server: server.url``. User stranger needs a password."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # initdb refuses root.
        names = {entry.pw_name for entry in pwd.getpwall()}
        self.user = None if os.getuid() else ("postgres" if "postgres" in names else "nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="bowerbird-postgres-"))
        if self.user:
            shutil.chown(self.folder, self.user)
        self.data = self.folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"postgresql://bowerbird@127.0.0.1:{self.port}/postgres"

    def _run(self, *command: object) -> None:
        subprocess.run(
            [str(part) for part in command],
            check=True,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )

    def __enter__(self) -> Postgres:
        initdb = (self.programs / "initdb", "-D", self.data, "-U", "bowerbird", "-E", "UTF8")
        self._run(*initdb, "-A", "trust")
        rules = self.data / "pg_hba.conf"
        first = "host all stranger 127.0.0.1/32 scram-sha-256\n"
        rules.write_text(first + rules.read_text())
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        pg_ctl = (self.programs / "pg_ctl", "-D", self.data, "-o", options)
        self._run(*pg_ctl, "-w", "-l", self.folder / "log", "start")

    def stop(self) -> None:
        """End it as a crash would."""
        if (self.data / "postmaster.pid").exists():
            self._run(self.programs / "pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def _signal(self, number: signal.Signals) -> None:
        file = self.data / "postmaster.pid"
        if not file.exists():
            return
        server = psutil.Process(int(file.read_text().split()[0]))
        for process in [server, *server.children(recursive=True)]:
            process.send_signal(number)

    def pause(self) -> None:
        """Stop all of its processes: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def database(self) -> str:
        """Make a database and return its URL."""
        return new_database(self.url)


def new_database(url: str) -> str:
    """Make a database on the server of a URL and return the new one's URL."""
    name = f"test{time.time_ns()}"
    parsed = sa.make_url(url)
    admin = sa.create_engine(
        parsed.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return str(parsed.set(database=name))
