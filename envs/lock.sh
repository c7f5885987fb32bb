#!/usr/bin/env bash
# Remake the hashed locks from pyproject.toml (needs `uv`; see CONTRIBUTING.md for when). Pinned versions are kept
# unless --upgrade is given:  bash envs/lock.sh [--upgrade]
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { # <lock file> <extra arguments>
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --override envs/overrides.txt --no-emit-package torch --no-emit-package torchvision \
        pyproject.toml envs/torch-needs.in --output-file "$@"
}
compile envs/lock.txt "$@"
# The test lock starts from the runtime lock, so that both name the same versions.
compile envs/lock-test.txt --extra test --constraint envs/lock.txt "$@"
bash envs/environments.sh
