"""A local server of S3's protocol (moto's)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import boto3

from tests.processes import end, free_port, wait_until

SECRET = "4711-secret"
KEYS = {"aws_access_key_id": "reader", "aws_secret_access_key": SECRET}
REGION = "us-east-1"


class ObjectStore:
    """``with ObjectStore() as store: store.url``."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ObjectStore:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, 60, "moto_server")
        return self

    def __exit__(self, *_: object) -> None:
        end(self.process)

    @property
    def client(self) -> Any:
        return boto3.client("s3", REGION, endpoint_url=self.url, **KEYS)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find the server."""
        keys = {name.upper(): value for name, value in KEYS.items()}
        return {**keys, "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": REGION}

    def _answers(self) -> bool:
        try:
            self.client.list_buckets()
        except Exception:
            return False
        return True
