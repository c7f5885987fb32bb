#!/usr/bin/env bash
# Make .venv from a lock:  bash envs/install.sh <lock file> [auto|cpu|cuda]
# Everything is pinned with hashes but torch and torchvision, pinned by version: their CPU and CUDA builds differ.
#   auto  the build that your pip index offers first        cpu   the CPU build, from PyTorch's own index where it answers
#   cuda  the build of the package index (CUDA)
set -euo pipefail
cd "$(dirname "$0")/.."
lock=$1
torch=${2:-auto}
torch_pins=(torch==2.13.0 torchvision==0.28.0)
cpu_index=https://download.pytorch.org/whl/cpu

usable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
find_python() {
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if usable "$candidate"; then echo "$candidate"; return; fi
    done
    echo "rhoflow needs Python 3.11, 3.12 or 3.13; none was found. Install one, or name it: make demo PYTHON=/path/to/python3" >&2
    exit 1
}
answers() { .venv/bin/python -c "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)" "$1/torch/" 2>/dev/null; }

case $torch in auto | cpu | cuda) ;; *) echo "TORCH=$torch: must be auto, cpu or cuda" >&2; exit 1 ;; esac
if ! [ -x .venv/bin/pip ]; then
    python=$(find_python)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    rm -rf .venv
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "Python $version cannot make a virtual environment. On Debian or Ubuntu:  sudo apt-get install python$version-venv" >&2
        exit 1
    fi
fi
echo "Installing $lock into .venv (several minutes the first time) ..."
.venv/bin/pip install --quiet --no-compile --disable-pip-version-check --no-deps --require-hashes -r "$lock"
installed=$(.venv/bin/python -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null || true)
case $torch:$installed in
    cpu:*+cpu) ;;
    # The builds of a version differ in its local label alone (2.13.0+cpu), which the pin accepts whatever it is.
    cpu:?* | cuda:*+cpu) .venv/bin/pip uninstall --quiet --yes torch torchvision ;;
esac
if [ "$torch" != auto ] || [[ $installed != 2.13.0* ]]; then
    extra=()
    if [ "$torch" = cpu ] && answers "$cpu_index"; then
        extra=(--index-url "$cpu_index")
    elif [ "$torch" = cpu ]; then
        echo "TORCH=cpu: $cpu_index does not answer; taking the build that your pip index offers" >&2
    fi
    # Their other requirements stand in the lock, so nothing but the build's own libraries is added.
    .venv/bin/pip install --quiet --no-compile --disable-pip-version-check "${extra[@]}" "${torch_pins[@]}"
fi
.venv/bin/pip install --quiet --no-compile --disable-pip-version-check --no-deps --no-build-isolation --editable .
# pip would compile on one core. Some packages bring templates that are no Python: their errors are no news.
.venv/bin/python -m compileall -qq -j 0 .venv/lib || true
