"""Look for known vulnerabilities of the locked packages: python requirements/audit.py

Runs pip-audit over the exact requirements. Exit code 1: a vulnerability that ``accepted.toml`` does
not answer, or an answer whose vulnerability is gone. Where the advisory service cannot be reached,
it says how many packages were not audited and ends with 0: a machine without that service can still
be tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from components.lockfile import FILES, exact_requirements

HERE = Path(__file__).parent


def locks() -> list[Path]:
    """Return all locks: those of each installation, and of packages for some commands only."""
    names = {file.name for file in FILES}
    return [*FILES, *(one for one in sorted(HERE.glob("*.txt")) if one.name not in names)]


def main() -> int:
    accepted = tomllib.loads((HERE / "accepted.toml").read_text(encoding="utf-8"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as locked:
        locked.write("\n".join(exact_requirements(locks())))
        locked.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", locked.name),
                *("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"warning: nothing was audited, pip-audit failed: {reason}", file=sys.stderr)
        return 0
    found = {
        one["id"]: f"{package['name']} {package['version']}, fixed in "
        f"{', '.join(one['fix_versions']) or 'no version yet'}"
        for package in packages
        for one in package.get("vulns", [])
    }
    for identifier in sorted(found.keys() - accepted.keys()):
        print(f"vulnerable: {identifier}: {found[identifier]}", file=sys.stderr)
    skipped = sum("skip_reason" in package for package in packages)
    if skipped:
        print(
            f"warning: {skipped} of {len(packages)} packages could not be audited", file=sys.stderr
        )
    else:
        for identifier in sorted(accepted.keys() - found.keys()):
            print(f"accepted.toml answers {identifier}, which is gone: remove it", file=sys.stderr)
    stale = not skipped and bool(accepted.keys() - found.keys())
    print(f"{len(packages) - skipped} packages audited, {len(found)} known vulnerabilities")
    return int(bool(found.keys() - accepted.keys()) or stale)


if __name__ == "__main__":
    sys.exit(main())
