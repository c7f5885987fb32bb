"""Run a script of the workflow and strike it in the middle of writing a file: `saboteur.py <deed> <script> ...`.

The blow falls when the script is about to give a finished temporary file its name: the latest moment, at which all
work can be lost. What is done is noted first, in $CHAOS/struck.json, so that a test can tell that it happened.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path

CHAOS = Path(os.environ.get("CHAOS", "."))
STALL_S = 300
PAUSE_S = 25
HOG_MB, MOST_MB = 100, 6000
rename = os.replace


def kill(part: Path, final: Path) -> None:
    """SIGKILL while half of the temporary file is written."""
    cut_in_half(part, part)
    os.kill(os.getpid(), signal.SIGKILL)


def half(part: Path, final: Path) -> None:
    """Leave half a file under its final name, as a careless writer would, and die."""
    cut_in_half(part, final)
    os.kill(os.getpid(), signal.SIGKILL)


def half_stall(part: Path, final: Path) -> None:
    """Leave half a file under its final name, and wait for the end."""
    cut_in_half(part, final)
    stall(part, final)


def stall(part: Path, final: Path) -> None:
    """Wait for somebody to end this job."""
    (CHAOS / "stalled").touch()
    time.sleep(STALL_S)
    sys.exit("nobody came")


def pause(part: Path, final: Path) -> None:
    """Wait a while, then go on as if nothing had been."""
    (CHAOS / "stalled").touch()
    time.sleep(PAUSE_S)


def memory(part: Path, final: Path) -> None:
    """Take memory until somebody ends this job."""
    hoard = [os.urandom(2**20) * HOG_MB]
    while len(hoard) * HOG_MB < MOST_MB:
        time.sleep(0.1)
        hoard.append(b"x" * (HOG_MB * 2**20))
    sys.exit("nobody minded")


def cut_in_half(source: Path, target: Path) -> None:
    content = source.read_bytes()
    target.unlink(missing_ok=True)  # it may be another name of a whole file
    target.write_bytes(content[: len(content) // 2])


def main(deed: str) -> None:
    """Strike when the first file below the ordered folder is about to get its name."""
    name, _, below = deed.partition(":")

    def strike(part: str | Path, final: str | Path, **options: int) -> None:
        if not str(final).startswith(below) or (CHAOS / "struck.json").exists():
            rename(part, final, **options)
            return
        facts = {"deed": name, "pid": os.getpid(), "job": os.environ.get("SLURM_JOB_ID"), "file": str(final)}
        (CHAOS / "struck.part").write_text(json.dumps(facts))
        rename(CHAOS / "struck.part", CHAOS / "struck.json")
        globals()[name](Path(part), Path(final))
        rename(part, final, **options)

    os.replace = strike
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
