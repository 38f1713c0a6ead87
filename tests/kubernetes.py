"""The Kubernetes API's own schema, strict: a field that it does not know is an error."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema

_API = json.loads(gzip.decompress(Path(__file__).with_name("kubernetes-1.36.json.gz").read_bytes()))


def check_manifest(manifest: dict[str, Any]) -> None:
    """Check a manifest of Kubernetes 1.36.

    Raises:
        KeyError: its kind is none of those whose schemas are here.
        ValidationError: it does not fit.
    """
    jsonschema.validate(manifest, {**_API["kinds"][manifest["kind"]], "$defs": _API["$defs"]})
