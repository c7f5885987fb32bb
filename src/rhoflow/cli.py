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
    output: Annotated[
        Path | None, typer.Option(help="CSV to write", show_default="<folder>/<study>/manifest.csv")
    ] = None,
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


@app.command()
def predict(
    densities: Annotated[list[Path], typer.Argument(help="CHGCAR, CHG or cube files, plain or compressed")],
    study: Annotated[Path | None, typer.Option(help="results/<study> of a finished study")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="with --study: image, text, fusion or clip; without: the folder that `rhoflow export-model` wrote"
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="with --study: property; needed where it has several")] = None,
    level: Annotated[str | None, typer.Option(help="with --study: text level; needed where it has several")] = None,
    structure: Annotated[
        list[Path] | None,
        typer.Option(
            "--structure",
            "--cif",
            help="CIF or POSCAR, for density files that name no elements; repeat it: one a density, in the same"
            " order, or one for all",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="also write predictions here, .csv or .json")] = None,
    force: Annotated[bool, typer.Option("--force", help="also predict what the networks have not seen")] = False,
) -> None:
    """Predict a property of new crystals by the networks of a finished study, with intervals (docs/predict.md)."""
    from rhoflow.predict import predict as predict_crystals
    from rhoflow.predict import read_exported, read_study
    from rhoflow.predict.table import check_output, format_predictions, write_predictions

    if model is None:
        raise StudyError(
            "give --study with --model (image, text, fusion or clip), or --model with an exported folder"
        )
    if output is not None:
        check_output(output)
    if study is not None:
        if not study.is_dir():
            raise StudyError(f"--study {study}: no such folder; give a study's folder of results, e.g. results/demo")
        ensemble = read_study(study, model=model, target=target, level=level)
    elif target or level:
        raise StudyError("--target and --level go with --study; the folder of an exported model holds one of each")
    elif not Path(model).is_dir():
        raise StudyError(
            f"--model {model}: no such folder; name one that `rhoflow export-model` wrote, or add --study to take a"
            " network of it"
        )
    else:
        ensemble = read_exported(Path(model))
    predictions = predict_crystals(ensemble, densities, structures=structure or (), force=force)
    if output is not None:
        write_predictions(output, ensemble, predictions)
    print(format_predictions(ensemble, predictions))
    if any(one.refused for one in predictions):
        raise typer.Exit(1)


@app.command(name="export-model")
def export_model(
    study: Annotated[str, typer.Argument(help="name of the study")],
    model: Annotated[str, typer.Option(help="image, text, fusion or clip")],
    output: Annotated[Path, typer.Option(help="folder to write; it must be new or empty")],
    target: Annotated[str | None, typer.Option(help="property; needed where the study has several")] = None,
    level: Annotated[str | None, typer.Option(help="text level; needed where the study has several")] = None,
    folder: Annotated[Path, typer.Option(help="where results are kept")] = Path("results"),
) -> None:
    """Write one model of a finished study into a folder that `rhoflow predict --model` takes anywhere."""
    from rhoflow.predict import export_model as export
    from rhoflow.predict import read_study

    ensemble = read_study(folder / study, model=model, target=target, level=level)
    export(ensemble, output)
    print(f"{len(ensemble.card.runs)} networks: {output}")


@app.command(name="fetch-weights")
def fetch_weights(
    study: Annotated[
        Path | None, typer.Option(help="the study's YAML file", show_default="the default study")
    ] = None,
) -> None:
    """Download the weights that a study names, where there is a network: compute nodes have none (docs/models.md)."""
    from rhoflow.config import read_study_file
    from rhoflow.models.hub import HUB, fetch, study_weights

    for key, name in study_weights(read_study_file(study)).items():
        if not name.startswith(HUB):
            print(f"{key} = {name}: nothing to download")
            continue
        fetched = fetch(name)
        print(f"{key} = {name}: {fetched.n_bytes / 1e6:.1f} MB of commit {fetched.commit[:12]} in {fetched.folder}")


@app.command()
def preview(
    configfile: Annotated[
        Path | None, typer.Option(help="the study's YAML file", show_default="the default study")
    ] = None,
    profile: Annotated[Path, typer.Option(help="profile that the run will use")] = Path("profiles/default"),
    snakefile: Annotated[Path, typer.Option(help="of the workflow")] = Path("Snakefile"),
) -> None:
    """Say what a run would do, a sentence a stage, and what it takes, judged by past jobs (docs/preview.md)."""
    from rhoflow.config import read_study_file
    from rhoflow.preview import preview as preview_run

    study = read_study_file(configfile)
    arguments = ["--snakefile", str(snakefile), "--profile", str(profile), "--cores", "1"]
    print(preview_run(study, [*arguments, *(["--configfile", str(configfile)] if configfile else [])]))


@app.command()
def doctor(
    study: Annotated[
        Path | None, typer.Option(help="the study's YAML file", show_default="the default study")
    ] = None,
    profile: Annotated[Path, typer.Option(help="profile that jobs are submitted with")] = Path("profiles/slurm"),
) -> None:
    """Check installation, GPU, disk, keys, weights and SLURM, and print the line to change for what is wrong."""
    from rhoflow.config import read_study_file
    from rhoflow.doctor import Level, examine, show

    findings = examine(read_study_file(study), project=Path.cwd(), profile=profile)
    print(show(findings))
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


@app.command()
def freeze(
    study: Annotated[str, typer.Argument(help="name of the study")],
    version: Annotated[str, typer.Argument(help="name of the frozen dataset, e.g. paper-2026")],
    folder: Annotated[Path, typer.Option(help="where results are kept")] = Path("results"),
) -> None:
    """Freeze a finished study's dataset into datasets/<version>.json, for dataset_version in a config."""
    from rhoflow.config import load_study
    from rhoflow.dataset.versions import freeze as freeze_dataset

    load_study({"dataset_version": version})
    path, n = freeze_dataset(folder / study, version)
    print(f"{n} materials: {path}")
    print(f"To keep exactly these, whatever is added to the data: dataset_version: {version}")


@app.command()
def lineage(
    result: Annotated[
        Path, typer.Argument(help="a table, figure or other result, e.g. results/demo/tables/results.csv")
    ],
    json: Annotated[bool, typer.Option("--json", help="everything, for machines")] = False,
    all_names: Annotated[bool, typer.Option("--all", help="every name, not only the first of a kind")] = False,
) -> None:
    """Print the way from a result of a finished study back to the raw densities (docs/provenance.md)."""
    from rhoflow.report.lineage_path import format_json, format_way, way_back

    way = way_back(result)
    print(format_json(way) if json else format_way(way, everything=all_names))


def main() -> None:
    """Run the command line; a user's mistake is one line, anything else a traceback in a file."""
    try:
        with plain_errors():
            app()
    except Exception as error:
        log = Path("rhoflow-error.log")
        log.write_text(traceback.format_exc(), encoding="utf-8")
        sys.exit(f"rhoflow: {error!r}; the traceback is in {log}")
