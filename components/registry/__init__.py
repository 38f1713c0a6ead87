"""Model versions: logged and registered in MLflow, one of them the champion."""

from components.registry.versions import (
    Registry,
    RegistryError,
    Version,
    folder_digest,
    reachable,
    run,
)

__all__ = ["Registry", "RegistryError", "Version", "folder_digest", "reachable", "run"]
