"""Model versions: logged and registered in MLflow, one of them the champion.

In: ``models/served``, ``models/hybrid``, ``models/language/finetuned``, ``models/reference``, the
reports. Out: an MLflow run and model version, its folder ``var/serving/models/<version>``, its
judged twin ``var/serving/judged/<version>``, the pointer ``var/serving/champion.json`` that serving
follows, and ``reports/registration.json``.

A version has two twins (see ``recommenders.refit``): the served one was fitted on all data, the
judged one on the data before the test window. Versions are compared by their judged twins, because
the served ones have seen the events that they would be judged on.

The alias ``champion`` names the served version, ``challenger`` the newest version that was compared
with it, ``previous`` the champion before: ``rollback`` returns to it. The first version becomes
champion; a later one only if it is better on the newest held-out data, beyond chance and on enough
users (``evaluation.compare``).

A version is complete before any alias names it, and the pointer is replaced in one step. A process
that is killed in between leaves the last good model served, and the same command finishes the work.
"""

from components.registry.promotion import promote, rollback
from components.registry.register import run
from components.registry.versions import Registry, RegistryError, Version, reachable

__all__ = ["Registry", "RegistryError", "Version", "promote", "reachable", "rollback", "run"]
