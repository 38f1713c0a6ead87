"""Extension of griffe, which reads the docstrings: doctest examples become code blocks.

Without it Markdown takes ``>>>`` for a quotation, and lists in the results for links.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).+)*", re.MULTILINE)
"""A prompt, and all lines up to the next empty one."""


class Doctests(griffe.Extension):
    """Fences the doctest examples of every docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value
            )
