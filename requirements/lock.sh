#!/usr/bin/env bash
# Resolves pyproject.toml in a fresh environment and writes the exact versions, without hashes.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python3 -m venv "$fresh"
"$fresh/bin/pip" install --quiet --upgrade pip
"$fresh/bin/pip" install --quiet '.[test]'
{
    echo "# Exact versions of pyproject.toml's ranges. Write anew with: make lock"
    "$fresh/bin/pip" list --format=freeze --exclude bowerbird --exclude pip \
        --exclude setuptools --exclude wheel | sed 's/^torch==\([0-9.]*\)+.*/torch==\1/'
} > requirements/lock.txt
