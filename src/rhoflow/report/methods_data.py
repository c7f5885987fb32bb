"""Sentences of the methods text about data, images and texts, splits, evaluation and computing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rhoflow.config import Clean, DirectorySource, MaterialsProjectSource, SliceOptions, Source, Splits, Study
from rhoflow.report import labels
from rhoflow.report.provenance_inputs import STAGES, rejections
from rhoflow.report.provenance_jobs import KILLED
from rhoflow.sources.materials_project.selection import LATTICES

_SPLITS = {
    "random": "by material",
    "composition": "so that no composition is in two parts",
    "prototype": "so that no structure prototype is in two parts",
    "cluster": "so that no cluster of like compositions is in two parts",
    "element": "by holding out whole elements",
}


def data_sentences(root: Path, study: Study, record: Mapping[str, Any]) -> list[str]:
    """Where the crystals come from, and how many were left after each filter."""
    data = record["dataset"]
    sentences = [_source(study, data)]
    if data["version"]:
        sentences.append(f"The dataset is the frozen version {data['version']}.")
    words = STAGES | ({"clean": "the choice of that version"} if data["version"] else {})
    left, steps = data["n"]["listed"], []
    for stage, n in filtered(root).items():
        left -= n
        steps.append(f"{left} after {words.get(stage, stage)}")
    kept = f"{data['n']['kept']} crystals are used."
    sentences.append(
        f"Of {data['n']['listed']} crystals {', '.join(steps)} were left; {kept}" if steps else f"All {kept}"
    )
    sentences.append("Structures were read with pymatgen [[ong2013]] and symmetries found with spglib [[togo2024]].")
    return sentences


def _source(study: Study, data: Mapping[str, Any]) -> str:
    counted = ", ".join(f"{name} ({n})" for name, n in data["functionals"].items())
    functional = f"by functional: {counted}" if counted else "functional not known"
    if data["source"] == "materials_project":
        versions = " and ".join(data["database_versions"]) or "of unknown version"
        return (
            "Charge densities, structures and properties are those of the Materials Project [[jain2013, shen2022]],"
            f" database {versions}, computed with VASP and PAW potentials [[kresse1996, bloechl1994]]; {functional}."
            f" {_selection(study.source)}"
        )
    if data["source"] == "manifest":
        return f"Charge densities and properties were taken from a published list with checksums; {functional}."
    if study.source == DirectorySource():
        return (
            "Charge densities and properties are those that rhoflow brings along, computed with GPAW [[mortensen2024,"
            " bloechl1994]] and the PBE functional [[perdew1996]]."
        )
    return "Charge densities and properties come from our own calculations (functional and settings: fill in)."


def _selection(source: Source) -> str:
    """Say which materials were asked for, and which sense of FCC that is."""
    if not isinstance(source, MaterialsProjectSource):
        return "How they were selected is not known."
    asked = [LATTICES[source.lattice]]
    asked += ["on the convex hull"] if source.stable else []
    if source.energy_above_hull_max is not None:
        asked.append(f"at most {source.energy_above_hull_max:g} eV/atom above the hull")
    asked += [f"space groups {', '.join(map(str, source.space_groups))}"] if source.space_groups else []
    asked += [f"{source.crystal_system} crystals"] if source.crystal_system else []
    asked += [f"with all of {', '.join(source.elements)}"] if source.elements else []
    asked += [f"without {', '.join(source.exclude_elements)}"] if source.exclude_elements else []
    asked += ["{} to {} elements".format(*source.nelements)] if source.nelements else []
    for name, (low, high) in source.ranges.items():
        limits = [f"at least {low:g}"] if low is not None else []
        limits += [f"at most {high:g}"] if high is not None else []
        asked += [f"{labels.axis_label(name)} {' and '.join(limits)}"] if limits else []
    asked += ["with all 25 properties of the papers"] if source.complete else []
    asked += ["from a list of ids"] if source.ids is not None else []
    asked += [f"the first {source.limit} in the order of their ids"] if source.limit else []
    return f"Selection: {'; '.join(asked)}."


def filtered(root: Path) -> dict[str, int]:
    """How many materials each stage was the first to reject, in the order of the stages; kept ones never count."""
    return dict(Counter(stage for stage, _ in rejections(root).values()))


def input_sentences(study: Study, texts: Mapping[str, int]) -> list[str]:
    """Say what the field, the grid, the image and the text are; `texts` counts who wrote them."""
    shape = " x ".join(map(str, study.grid.shape))
    return [
        f"The {labels.FIELDS[study.field]} was brought onto a grid of {shape} points.",
        *([] if study.dataset_version else [_outliers(study.clean)]),
        *_image(study.slices),
        f"Texts are descriptions {_writers(texts)} at the levels {', '.join(study.levels)} (formula: the bare"
        " composition; keywords: sentences on it and bonds; all: the whole description).",
    ]


def _writers(texts: Mapping[str, int]) -> str:
    words = {
        "robocrystallographer": "by robocrystallographer [[ganose2019]]",
        "materials_project": "that came with the source",
        "fallback": "of formula, symmetry and sites alone, where robocrystallographer failed",
    }
    told = [f"{words[origin]} ({texts[origin]})" for origin in words if texts.get(origin)]
    return " and ".join(told) or "of unknown origin"


def _outliers(clean: Clean) -> str:
    if clean.fences:
        return "Outliers lie beyond fences that a former study set."
    if clean.iqr_factor:
        return (
            f"Outliers lie more than {clean.iqr_factor:g} interquartile ranges beyond the quartiles of the minima or"
            " of the maxima."
        )
    return "No outliers were removed."


def _image(slices: SliceOptions) -> list[str]:
    plane = "densest lattice" if slices.plane == "densest" else f"({''.join(map(str, slices.plane))})"
    n = slices.window.cells
    window = (
        f"the largest square in the section of a supercell of {n} x {n} x {n} cells"
        if n
        else f"a square of {slices.window.angstrom:g} A"
    )
    sites = {"heaviest": "the heaviest site", "mean": "the mean height of the sites"}
    through = sites.get(str(slices.through), str(slices.through))
    how = "by interpolation on the unified grid" if slices.as_published else "exactly, from the Fourier coefficients"
    scaled = "arcsinh was taken, and it is" if slices.transform == "arcsinh" else "It is"
    return [
        f"The image is cut {how} on the {plane} plane of the conventional cell through {through}: {window}, at"
        f" {slices.pixels} x {slices.pixels} pixels.",
        f"{scaled[0].upper()}{scaled[1:]} z-scored and divided by its largest magnitude.",
        *(["Three parallel planes are its channels."] if slices.planes == 3 else []),
        *(["Networks see the magnitude of its Fourier transform."] if slices.content == "fourier" else []),
    ]


def split_sentences(splits: Splits, parts: Mapping[str, int]) -> list[str]:
    """Who trained and who tested."""
    test = parts.get("test", 0)
    rest = sum(n for part, n in parts.items() if part.startswith("fold"))
    repeats = f", with {splits.repeats} repeats for CLIP and the baselines beside it" if splits.repeats > 1 else ""
    return [
        f"The crystals were split {_SPLITS[splits.strategy]} by a stable hash (seed {splits.seed}): {test} for the"
        f" test and {rest} in {splits.folds}-fold cross-validation{repeats}."
    ]


def evaluation_sentences(study: Study) -> list[str]:
    """Say how models were judged."""
    targets = ", ".join(labels.axis_label(target) for target in study.targets)
    resampled = labels.RESAMPLED.get(study.splits.strategy, "test crystals")
    return [
        f"Targets are {targets}.",
        "R2, RMSE and MAE are given in physical units, as mean and sample standard deviation over"
        f" {labels.counted(study.splits.folds, 'fold')} x {labels.counted(len(study.seeds), 'seed')}, with 95 %"
        f" bootstrap intervals ({study.report.bootstrap} resamples of the {resampled}).",
        "Differences on the validation folds were tested with the corrected resampled t-test [[nadeau2003]] and"
        " Holm's correction [[holm1979]].",
    ]


def computing_sentences(record: Mapping[str, Any]) -> list[str]:
    """Software, hardware and cost."""
    versions = record["reporting"]["packages"]
    hours = sum(one["hours"] for one in record["costs"].values())
    gpu = sum(one["gpu_hours"] for one in record["costs"].values())
    killed = sum(end == KILLED for job in record["troubled"] for end in job["ends"])
    left_out = (
        f" (without {labels.counted(killed, 'attempt')} that {'was' if killed == 1 else 'were'} killed)"
        if killed
        else ""
    )
    machines = sorted({_machine(kind) for kind in record["hardware"]})
    commit = record["code"]["commit"]
    return [
        f"The study was run with rhoflow {record['code']['version']} [[rhoflow]]"
        f"{f' (commit {commit[:12]})' if commit else ''} under Snakemake {versions['snakemake']} [[moelder2021]],"
        " HDF5 [[collette2013]], Zarr [[zarr]], NumPy [[harris2020]], SciPy [[virtanen2020]], pandas [[mckinney2010]]"
        " and matplotlib [[hunter2007]].",
        f"All jobs together took {hours:.2f} hours and {gpu:.2f} GPU hours{left_out}; the models were trained on"
        f" {' and '.join(machines) or 'unknown hardware'}.",
        f"Results carry the lineage {record['lineage']['id']}; the run is described as a Workflow Run RO-Crate"
        " [[leo2024]].",
    ]


def _machine(kind: Mapping[str, Any]) -> str:
    return str(kind["gpu"] or f"{kind['cpu'] or 'an unknown processor'} ({kind['cpu_count']} cores)")
