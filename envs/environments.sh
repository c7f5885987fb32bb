#!/usr/bin/env bash
# Remake the environments for clusters from envs/lock.txt and the torch pins of pyproject.toml; envs/lock.sh calls this.
#   envs/rhoflow.yaml   conda (snakemake --sdm conda): the same pins, without hashes, which its pip section cannot take
#   envs/rhoflow.def    Apptainer: installs the lock itself, with its hashes
set -euo pipefail
cd "$(dirname "$0")/.."
python=3.12
pins=$(sed -nE '/^[a-z0-9]/{ s/ *\\$//; p }' envs/lock.txt)
torch=$(sed -nE 's/^  "((torch|torchvision)==[0-9.]+)",$/\1/p' pyproject.toml)
sha256=$(sha256sum envs/lock.txt | cut -d' ' -f1)
{
    echo "# Made from envs/lock.txt by envs/environments.sh: change pyproject.toml and remake (make lock)."
    echo "# Tested to agree with the lock; not built yet with conda."
    echo "channels: [conda-forge, nodefaults]"
    echo "dependencies:"
    echo "  - python=$python"
    echo "  - pip"
    echo "  - pip:"
    printf '%s\n' "$pins" "$torch" | sed 's/.*/      - "&"/'
} >envs/rhoflow.yaml
cat >envs/rhoflow.def <<END
# Made from envs/lock.txt by envs/environments.sh: change pyproject.toml and remake (make lock).
# Tested to agree with the lock; not built yet with Apptainer.
# Build, from the project's folder, where there is a network:  apptainer build envs/rhoflow.sif envs/rhoflow.def
# rhoflow itself stays outside: jobs run the checkout that they are started from.
Bootstrap: docker
From: python:$python-slim-bookworm

%files
    envs/lock.txt /opt/rhoflow/lock.txt

%post
    echo "$sha256  /opt/rhoflow/lock.txt" | sha256sum --check
    pip install --no-cache-dir --no-deps --require-hashes -r /opt/rhoflow/lock.txt
    # By version: the CPU and CUDA builds of one version have different hashes. The package index has the CUDA build.
    pip install --no-cache-dir $(echo $torch)

%environment
    export PYTHONNOUSERSITE=1 HF_HUB_OFFLINE=1

%labels
    lock.sha256 $sha256

%test
    python -c "import snakemake, torch; print(snakemake.__version__, torch.__version__)"
END
