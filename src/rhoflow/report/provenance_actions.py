"""What a crate says of the workflow and its run: tools and steps (what was to be done), actions (what was done)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from rhoflow.report.lineage import Edges
from rhoflow.report.names import SALIENCY
from rhoflow.report.provenance_jobs import DONE
from rhoflow.training.names import BASELINE_LEVELS, base_of
from rhoflow.training.search.names import TABLE as SEARCH_TABLE
from rhoflow.training.search.names import chosen_file

RESULTS = "results"  # folder in the crate of what lies below results/<study>
WORKFLOW = "workflow"  # folder in the crate of the workflow's own files
SCRIPTS = f"{WORKFLOW}/workflow/scripts/"
# What each script of the workflow makes, below the result folder, where its job's name does not say it.
_MADE = {
    "clean": ("dataset/kept.csv", "dataset/rejected.csv", "dataset/fences.json", "dataset/targets.parquet"),
    "splits": ("dataset/splits.json",),
    "leakage": ("dataset/leakage.json",),
    "views": ("views/",),
    "tables": ("tables/",),
    "search_table": tuple(f"tables/{name}" for name in SEARCH_TABLE),
    "figures": ("figures/",),
    SALIENCY: (f"figures/{SALIENCY}",),
}


def describe_run(crate: ROCrate, record: Mapping[str, Any], files: list[str]) -> None:
    """Add the workflow, its tools and steps, and the actions to a crate that has the `files`."""
    workflow = _workflow(crate, record)
    tools = _tools(crate, record, files)
    workflow["hasPart"] = [{"@id": tool.id} for tool in tools.values()]
    steps = _steps(crate, tools)
    workflow["step"] = [{"@id": step.id} for step in steps.values()]
    actions = list(_actions(crate, record, files, tools, steps))
    results = [
        {"@id": crate.get(name).id}
        for name in files
        if name.startswith((f"{RESULTS}/tables/", f"{RESULTS}/figures/"))
    ]
    run = ContextEntity(
        crate,
        "#run",
        {
            "@type": "CreateAction",
            "name": f"Run of the study {record['study']}",
            "identifier": record["run_id"],
            "instrument": {"@id": workflow.id},
            "object": [{"@id": "config.yaml"}, {"@id": "inputs.csv"}],
            "result": results,
            **_times(record),
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        },
    )
    engine = ContextEntity(
        crate,
        "#snakemake",
        {
            "@type": "SoftwareApplication",
            "name": f"Snakemake {record['reporting']['packages']['snakemake']}",
            "version": record["reporting"]["packages"]["snakemake"],
            "url": "https://snakemake.readthedocs.io",
        },
    )
    organised = ContextEntity(
        crate,
        "#orchestration",
        {
            "@type": "OrganizeAction",
            "name": f"Snakemake runs the study {record['study']}",
            "instrument": {"@id": engine.id},
            "object": [{"@id": action.id} for action in actions],
            "result": {"@id": run.id},
            **_times(record),
        },
    )
    crate.add(run, engine, organised)
    crate.root_dataset["mentions"] = [{"@id": run.id}, {"@id": organised.id}]


def types_of(name: str, ran: Collection[str]) -> list[str] | str:
    """Types of a file of the crate; a script is a tool only if it `ran`, as the profile asks."""
    if name == f"{WORKFLOW}/Snakefile":
        return ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    if name.startswith(SCRIPTS) and Path(name).stem in ran:
        return ["File", "SoftwareSourceCode", "SoftwareApplication"]
    return ["File", "SoftwareSourceCode"] if name.startswith(SCRIPTS) or name.endswith(".smk") else "File"


def scripts_of(record: Mapping[str, Any]) -> set[str]:
    """Scripts that ran, by name."""
    return {job["script"] for job in record["jobs"]}


def _workflow(crate: ROCrate, record: Mapping[str, Any]) -> Entity:
    main = crate.get(f"{WORKFLOW}/Snakefile")
    language = crate.add(
        ContextEntity(
            crate,
            "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            {
                "@type": "ComputerLanguage",
                "name": "Snakemake",
                "url": {"@id": "https://snakemake.readthedocs.io"},
                "identifier": {"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            },
        )
    )
    main["name"] = "rhoflow"
    main["version"] = record["code"]["version"]
    main["programmingLanguage"] = {"@id": language.id}
    main["sdPublisher"] = {"@id": "#rhoflow"}
    crate.add(ContextEntity(crate, "#rhoflow", {"@type": "Organization", "name": "The rhoflow developers"}))
    formal = {"config.yaml": "configfile", "inputs.csv": "materials"}
    for name, parameter in formal.items():
        crate.add(
            ContextEntity(
                crate, f"#{parameter}", {"@type": "FormalParameter", "name": parameter, "additionalType": "File"}
            )
        )
        crate.get(name)["exampleOfWork"] = {"@id": f"#{parameter}"}
    main["input"] = [{"@id": f"#{parameter}"} for parameter in formal.values()]
    crate.root_dataset["mainEntity"] = {"@id": main.id}
    return main


def _tools(crate: ROCrate, record: Mapping[str, Any], files: list[str]) -> dict[str, Entity]:
    """Scripts that ran by name; their version is the digest of all code that they use."""
    tools, ran = {}, scripts_of(record)
    for name in files:
        if name.startswith(SCRIPTS) and Path(name).stem in ran:
            stem, tool = Path(name).stem, crate.get(name)
            tool["softwareVersion"] = f"{record['code']['version']}, code {record['code']['stages'].get(stem)}"
            tools[stem] = tool
    return tools


def _steps(crate: ROCrate, tools: Mapping[str, Entity]) -> dict[str, Entity]:
    return {
        name: crate.add(
            ContextEntity(
                crate, f"#step-{name}", {"@type": "HowToStep", "name": name, "workExample": {"@id": tool.id}}
            )
        )
        for name, tool in tools.items()
    }


def _actions(
    crate: ROCrate,
    record: Mapping[str, Any],
    files: list[str],
    tools: Mapping[str, Entity],
    steps: Mapping[str, Entity],
) -> Iterator[Entity]:
    """Add the tool runs of all jobs, and yield the step runs that control them."""
    for job in record["jobs"]:
        if job["script"] not in tools:
            continue
        made = made_by(job, files)
        used = used_for(made, record["from"], files)
        for number, attempt in enumerate(job["attempts"], start=1):
            name = f"{job['job'].replace('/', '-')}-{number}"
            last = number == len(job["attempts"])
            action = {
                "@type": "CreateAction",
                "name": f"{job['job']}, attempt {number}",
                "description": _machine(attempt),
                "instrument": {"@id": tools[job["script"]].id},
                "startTime": attempt["started"],
                **({"endTime": attempt["ended"]} if "ended" in attempt else {}),
                **_status(attempt["end"]),
                **({"object": [{"@id": crate.get(one).id} for one in used]} if used else {}),
                **({"result": [{"@id": crate.get(one).id} for one in made]} if made and last else {}),
            }
            run = crate.add(ContextEntity(crate, f"#job-{name}", action))
            yield crate.add(
                ContextEntity(
                    crate,
                    f"#control-{name}",
                    {
                        "@type": "ControlAction",
                        "name": f"Snakemake runs {job['job']}",
                        "instrument": {"@id": steps[job["script"]].id},
                        "object": {"@id": run.id},
                    },
                )
            )


def made_by(job: Mapping[str, Any], files: Iterable[str]) -> list[str]:
    """Files of the crate that a job made."""
    script, name = job["script"], job["job"]
    if script in ("train", "baselines", "incontext"):
        words = name.partition("/")[2].split(".")
        return [one for one in files if _is_run_of(one, script, words)]
    if script == "search":
        model, target, level, fold = name.partition("/")[2].split(".")
        return [one for one in files if one == f"{RESULTS}/{chosen_file(model, target, level, fold)}"]
    starts = tuple(f"{RESULTS}/{start}" for start in _MADE.get(script, (f"{name}.",)))
    apart = [start for other in (SALIENCY, "search_table") if other != script for start in _MADE[other]]
    others = tuple(f"{RESULTS}/{start}" for start in apart)
    return [one for one in files if one.startswith(starts) and not one.startswith(others)]


def _is_run_of(file: str, script: str, words: list[str]) -> bool:
    """Whether a file is of a run that a training job made: `words` are the parts of the job's name."""
    parts = file.split("/")
    if parts[:2] != [RESULTS, "runs"]:
        return False
    model, target, level, fold, seed = parts[2:7]
    if script == "train":
        single = [f"{fold.removeprefix('fold')}-{seed.removeprefix('seed')}"]
        return words[:3] == [model, target, level] and words[3:] in ([], single)
    if script == "incontext":
        return [model, target, level] == ["llm", *words]
    return words[:1] == [target] and base_of(model)[0] in BASELINE_LEVELS


def used_for(made: Iterable[str], edges: Edges, files: Iterable[str]) -> list[str]:
    """Files of the crate that those of `made` were made from, through whatever is not in the crate itself."""
    there = set(files)
    waiting = [one.removeprefix(f"{RESULTS}/").removesuffix(".digest.json") for one in made]
    seen, used = set(waiting), set()
    while waiting:
        for source in edges.get(waiting.pop(), []):
            inside = [f"{RESULTS}/{source}{suffix}" for suffix in (".digest.json", "")]
            found = next((one for one in inside if one in there), None)
            if found:
                used.add(found)
            elif source not in seen:
                seen.add(source)
                waiting.append(source)
    used |= {"inputs.csv"} if any(name.startswith("plan/") for name in seen) else set()
    return sorted(used - set(made))


def _status(end: str) -> dict[str, Any]:
    if end == DONE:
        return {"actionStatus": {"@id": "http://schema.org/CompletedActionStatus"}}
    return {"actionStatus": {"@id": "http://schema.org/FailedActionStatus"}, "error": end}


def _machine(attempt: Mapping[str, Any]) -> str:
    facts = [f"host {attempt['host']}", f"Python {attempt['python']}", f"code {attempt['code']}"]
    facts += [f"{attempt['seconds']} s, {attempt['max_rss_mb']} MB"] if "seconds" in attempt else []
    facts += [f"GPU {gpu}" for gpu in attempt.get("gpus", ())]
    facts += [f"SLURM job {attempt['slurm_job']}"] if attempt.get("slurm_job") else []
    return ", ".join(facts)


def _times(record: Mapping[str, Any]) -> dict[str, str]:
    attempts = [attempt for job in record["jobs"] for attempt in job["attempts"]]
    started = min((one["started"] for one in attempts), default=record["written"])
    return {
        "startTime": started,
        "endTime": max((one["ended"] for one in attempts if "ended" in one), default=record["written"]),
    }
