"""Run the faults and write what became of them into docs/reliability.md: `python tests/chaos/run.py`.

Cases are run one after another; several processes may share the work (`--only slurm`, `--only local`) and one file of
outcomes, from which the table is made.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from small_study import CRYSTALS  # noqa: E402

from chaos.disturbed import RUN, Disturbed, study_of  # noqa: E402
from chaos.faults import CASES, Case, ImpossibleError, finish, strike  # noqa: E402

PROJECT = TESTS.parent
PAGE = PROJECT / "docs/reliability.md"
BEGIN, END = "<!-- outcomes: begin -->\n", "<!-- outcomes: end -->\n"


def outcome(case: Case, undisturbed: Disturbed, folder: Path) -> dict[str, str]:
    """Bring a fault about, run again, compare."""
    begin = time.monotonic()
    shutil.copytree(undisturbed.folder, folder, symlinks=True)
    workspace = Disturbed(folder, undisturbed.project, whole=undisturbed.folder)
    happened, result = "no", "not reached"
    try:
        happened = strike(workspace, case)
        finish(workspace, case)
        same = workspace.results() == undisturbed.results() and len(workspace.results()) == 4
        result = "same bytes" if same else "OTHER BYTES"
    except ImpossibleError as error:
        happened, result = "no", f"not run: {error}"
    except Exception as error:  # a fault that gets the better of us is an outcome too
        result = f"FAILED: {type(error).__name__}"
        print(f"{case}: {error}", file=sys.stderr)
    finally:
        workspace.end_all()
    seconds = f"{time.monotonic() - begin:.0f}"
    return {"case": str(case), "happened": happened, "outcome": result, "seconds": seconds}


def write_page(outcomes: list[dict[str, str]]) -> None:
    """Put the table between its marks."""
    known = {str(case): case for case in CASES}
    order = list(known)
    rows = sorted((one for one in outcomes if one["case"] in known), key=lambda one: order.index(one["case"]))
    lines = [
        "| fault | at | executor | happened? | after a plain rerun | s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {known[one['case']].kind} | {known[one['case']].stage} | {known[one['case']].executor}"
            f" | {one['happened'].replace('|', '/')} | {one['outcome']} | {one['seconds']} |"
            for one in rows
        ),
    ]
    good = sum(one["outcome"] == "same bytes" for one in rows)
    commits = ", ".join(sorted({one["commit"] for one in rows}))
    days = ", ".join(sorted({one["date"] for one in rows}))
    total = sum(int(one["seconds"]) for one in rows)
    told = (
        f"{len(rows)} of {len(CASES)} cases were run ({days}, commit {commits}): {good} ended in the same bytes."
        f" {total} s in all, the sum over cases.\n\n"
    )
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(head + BEGIN + told + "\n".join(lines) + "\n" + rest[rest.index(END) :])


def commit() -> str:
    given = os.environ.get("CHAOS_COMMIT")  # of a copy without .git
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty"]
    return given or subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="words that a case's name must have")
    parser.add_argument("--keep", type=Path, help="file of outcomes, one JSON a line; cases in it are not run again")
    parser.add_argument("--undisturbed", type=Path, help="finished very small study of an earlier call")
    arguments = parser.parse_args()
    keep = arguments.keep or Path(tempfile.mkdtemp()) / "outcomes.jsonl"
    done = [json.loads(line) for line in keep.read_text().splitlines()] if keep.exists() else []
    wanted = [case for case in CASES if all(word in str(case) for word in arguments.only)]
    wanted = [case for case in wanted if str(case) not in {one["case"] for one in done}]
    if any(case.executor == "slurm" for case in wanted):
        started = subprocess.run([TESTS / "slurm/sandbox.sh", "start"], capture_output=True, text=True, check=True)
        os.environ["SLURM_CONF"] = started.stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        whole = arguments.undisturbed or Path(folder) / "undisturbed"
        undisturbed = Disturbed(whole, PROJECT) if whole.exists() else None
        if undisturbed is None:
            whole.mkdir()
            undisturbed = study_of(whole, PROJECT, PROJECT / "resources/demo", CRYSTALS)
            undisturbed.succeeds("--", RUN)
        facts = {"commit": commit(), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
        for number, case in enumerate(wanted):
            one = outcome(case, undisturbed, Path(folder) / str(number)) | facts
            print(json.dumps(one), flush=True)
            with keep.open("a") as file:
                file.write(json.dumps(one) + "\n")
    write_page([json.loads(line) for line in keep.read_text().splitlines()])


if __name__ == "__main__":
    main()
