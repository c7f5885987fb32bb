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
# The conda environment for clusters that want one (snakemake --sdm conda): the same pins, without hashes, and torch.
{
    echo "# Made from envs/lock.txt by envs/lock.sh: change pyproject.toml and remake."
    echo "channels: [conda-forge, nodefaults]"
    echo "dependencies:"
    echo "  - python=3.12"
    echo "  - pip"
    echo "  - pip:"
    sed -nE '/^[a-z0-9]/{ s/ *\\$//; s/.*/      - "&"/p }' envs/lock.txt
    echo '      - "torch==2.13.0"'
    echo '      - "torchvision==0.28.0"'
} >envs/rhoflow.yaml
