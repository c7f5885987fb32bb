"""The `rhoflow` command: what a person asks of a finished study."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from rhoflow import __version__
from rhoflow.errors import StudyError, plain_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, help="rhoflow: charge densities to properties.")


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """Print the version when asked."""
    if show:
        print(__version__)
        raise typer.Exit


@app.command()
def results(
    study: Annotated[str, typer.Argument(help="name of the study")],
    folder: Annotated[Path, typer.Option(help="where results are kept")] = Path("results"),
) -> None:
    """Print a study's table of results and the path of its report."""
    root = folder / study
    table, report = root / "tables" / "results.txt", root / "report.html"
    for path in (table, report):
        if not path.is_file():
            raise StudyError(f"{path} does not exist: run snakemake for the study {study!r} first")
    print(table.read_text(encoding="utf-8"))
    print(f"Report: {report}")


@app.command()
def manifest(
    study: Annotated[str, typer.Argument(help="name of the study")],
    output: Annotated[Path | None, typer.Option(help="CSV to write [default: <folder>/<study>/manifest.csv]")] = None,
    folder: Annotated[Path, typer.Option(help="where results are kept")] = Path("results"),
    ingested: Annotated[bool, typer.Option("--ingested", help="also what was read but not kept")] = False,
) -> None:
    """List a finished study's materials with checksums, for others to rebuild its dataset from."""
    from rhoflow.sources.publish import write_manifest

    target = output or folder / study / "manifest.csv"
    n = write_manifest(folder / study, target, ingested=ingested)
    print(f"{n} materials: {target}")
    print(
        "To rebuild the dataset from it: source: {kind: manifest, file: <the list>, folder: <where local files lie>}"
    )


def main() -> None:
    """Run the command line; a user's mistake is one line, anything else a traceback in a file."""
    try:
        with plain_errors():
            app()
    except Exception as error:
        log = Path("rhoflow-error.log")
        log.write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(f"rhoflow: {error!r}; the traceback is in {log}")
