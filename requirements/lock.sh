#!/usr/bin/env bash
# Resolves pyproject.toml in a fresh environment and writes the exact versions with their digests.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv "$fresh"
"$fresh/bin/pip" install --quiet --upgrade pip
"$fresh/bin/pip" install --quiet --report "$fresh/report.json" '.[test]'
{
    echo "# Exact versions of pyproject.toml's ranges, with the SHA-256 digests of their files."
    echo "# Written by: make lock"
    "$fresh/bin/pip" list --format=freeze --exclude bowerbird --exclude pip \
        | grep -v '^torch=='
} > requirements/lock.txt
{
    echo "# Written by: make lock. Without digests: which build fits (CPU, CUDA) is each machine's own."
    "$fresh/bin/pip" list --format=freeze | sed -n 's/^torch==\([0-9.]*\).*/torch==\1/p'
} > requirements/torch.txt
"$fresh/bin/python" requirements/add_hashes.py requirements/lock.txt "$fresh/report.json"
