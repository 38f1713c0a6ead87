"""Run benchmarks by name, or list them: python -m benchmarks [NAME ...].

Each module or package of this folder answers one question; its docstring says what it needs. Most
take arguments when they are run as ``python -m benchmarks.NAME``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def available() -> dict[str, str]:
    """Return the benchmarks by name with the first line of their docstrings."""
    found = {}
    packages = {file.parent.name: file for file in HERE.glob("*/__main__.py")}
    modules = {file.stem: file for file in HERE.glob("*.py") if not file.name.startswith("_")}
    for name, file in sorted((packages | modules).items()):
        text = file.read_text(encoding="utf-8")
        if '__name__ == "__main__"' in text:
            docstring = ast.get_docstring(ast.parse(text)) or ""
            found[name] = docstring.partition("\n")[0]
    return found


def main(names: list[str]) -> int:
    benchmarks = available()
    if not names:
        for name, summary in benchmarks.items():
            print(f"{name:<18}{summary}")
        return 0
    unknown = sorted(set(names) - set(benchmarks))
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}", file=sys.stderr)
        return 2
    return max(
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        for name in names
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
