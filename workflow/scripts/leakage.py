"""Check that nothing leaks between training and test: dataset/leakage.json."""

import argparse
from pathlib import Path

from rhoflow.dataset.leakage import write_leakage
from rhoflow.errors import plain_errors

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--root", type=Path, required=True, help="results/<study>")

if __name__ == "__main__":
    with plain_errors():
        write_leakage(parser.parse_args().root)
