#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: exact versions with hashes, for Python 3.11 and 3.12.
# Needs uv. No address of a package host is written.
set -euo pipefail
cd "$(dirname "$0")/.."
for role in embedded dev; do
    uv pip compile pyproject.toml --extra "$role" --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-header --no-annotate --unsafe-package pip \
        --output-file "requirements/$role.lock" --constraint requirements/constraints.txt --quiet "$@"
done
