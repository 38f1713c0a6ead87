"""Model versions: logged and registered in MLflow, one of them the champion.

In: ``models/served``, ``models/hybrid``, ``models/language/finetuned``, ``models/reference``, the
reports. Out: an MLflow run and model version, its served model ``var/serving/models/<version>``,
its evaluated model ``var/serving/judged/<version>``, the pointer ``var/serving/champion.json`` that
the endpoint follows, and ``reports/registration.json``.

A version has two models (see ``recommenders.refit``): the served one is fitted on all data, the
evaluated one on the data before the test window. Versions are compared by their evaluated models,
because the served ones have seen the events of the test window.

The alias ``champion`` names the served version, ``challenger`` the newest version that was compared
with it, and ``previous`` the previous champion, to which ``rollback`` returns. ``baseline`` is a
version that a challenger must not be worse than either (see ``registry.promotion``). The first
version becomes champion; a later one only if it meets ``register.rule`` and keeps the guardrails on
the newest held-out data with enough users (``evaluation.compare``).

A version is complete before any alias names it, and the pointer is replaced atomically. If a
process is killed in between, the last good model is served, and the same command completes the
work.
"""

from components.registry.promotion import promote, rollback
from components.registry.register import run
from components.registry.versions import Registry, RegistryError, Version, reachable

__all__ = ["Registry", "RegistryError", "Version", "promote", "reachable", "rollback", "run"]
