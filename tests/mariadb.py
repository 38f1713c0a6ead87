"""A MariaDB server of our own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from tests.processes import end, free_port


def mariadb_programs() -> bool:
    """Return whether the server's programs are installed."""
    return all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db"))


class MariaDB:
    """``with MariaDB() as server: server.url``, the URL of root on an empty database."""

    def __init__(self) -> None:
        names = {entry.pw_name for entry in pwd.getpwall()}
        # The server refuses root.
        self.user = None if os.getuid() else ("mysql" if "mysql" in names else "nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="bowerbird-mariadb-"))
        if self.user:
            shutil.chown(self.folder, self.user)
        self.port = free_port()
        self.url = f"mysql://root@127.0.0.1:{self.port}/shop"

    def __enter__(self) -> MariaDB:
        data = f"--datadir={self.folder}/data"
        with (self.folder / "log").open("wb") as log:
            subprocess.run(
                [
                    "mariadb-install-db",
                    "--no-defaults",
                    data,
                    "--skip-test-db",
                    "--auth-root-authentication-method=normal",
                ],
                check=True,
                user=self.user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
            self.process = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", data, f"--port={self.port}"),
                    *("--bind-address=127.0.0.1", f"--socket={self.folder}/socket"),
                    *(f"--pid-file={self.folder}/pid", "--innodb-buffer-pool-size=16M"),
                    "--default-time-zone=+03:00",  # a server that is not in UTC
                ],
                user=self.user,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        engine = sa.create_engine(f"mysql+pymysql://root@127.0.0.1:{self.port}/")
        for attempt in range(120):
            try:
                with engine.connect() as connection:
                    connection.execute(sa.text("CREATE DATABASE shop"))
                break
            except sa.exc.OperationalError:
                if attempt == 119 or self.process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.5)
        engine.dispose()
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)
