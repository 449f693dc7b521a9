#!/usr/bin/env bash
# Writes the lock files anew from pyproject.toml: exact versions with hashes, for Python 3.11 and 3.12. The smaller ones,
# for a container each, hold the versions of dev.lock, with which everything was tested.
# Needs uv. No address of a package host is written.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {  # lock FILE CONSTRAINTS [EXTRA...]
    local file=$1 constraints=$2
    shift 2
    uv pip compile pyproject.toml ${1+"${@/#/--extra=}"} --universal --python-version 3.11 \
        --generate-hashes --no-emit-index-url --no-header --no-annotate --unsafe-package pip \
        --output-file "requirements/$file.lock" --constraint "$constraints" --quiet
}

lock dev requirements/constraints.txt dev
# Constraints with hashes are not taken.
versions=$(mktemp)
trap 'rm -f "$versions"' EXIT
grep -oE '^[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^ ]+( ; [^\\]+)?' requirements/dev.lock | sed -E 's/\[[a-z,]+\]//' > "$versions"
lock embedded "$versions" embedded
lock base "$versions"
for role in inbox web worker; do
    lock "$role" "$versions" "$role" s3
done
lock flower "$versions" flower
lock dicom "$versions" dicom-net s3
lock gpu "$versions" gpu s3
# What an image installs the program itself with.
echo setuptools | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --output-file requirements/build.lock --constraint "$versions" --quiet
# The tools of `make sbom` and `make audit`, in an environment of their own.
uv pip compile requirements/supply.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-header --no-annotate --unsafe-package pip --output-file requirements/supply.lock --quiet
