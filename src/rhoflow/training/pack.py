"""Train a pack: the folds and seeds of one model, target and level, in one process.

Importing torch, lightning, timm and transformers takes 5-10 s, so runs share a process, and the features of a
frozen backbone. Each run is seeded by its own name, so a pack of one and a pack of many write the same bytes. A
finished run stays in ``scratch/<run>/done``, under the digest of all that it depends on. Whoever asks for it again
adopts it: the rerun of a killed pack, a pack of other runs, a study with one seed more.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from rhoflow.config import Section, Stage, Training
from rhoflow.dataset.load import View
from rhoflow.materials.digests import atomic, digest_file, digest_json, read_json, to_disk, write_json
from rhoflow.models.names import WEIGHTS
from rhoflow.models.networks import NETWORKS, Network, save_state
from rhoflow.models.registry import Entry
from rhoflow.progress import LOG_EVERY_S, track
from rhoflow.properties import zero_up_to
from rhoflow.training.distributed import Share, join
from rhoflow.training.engine import gpu_name, reproducible, seed_torch
from rhoflow.training.evaluate import PACKAGES, RunKey, Stopwatch, score_parts, write_provenance, write_run
from rhoflow.training.fit import FINETUNE, READOUT, FeatureCache, Fit, fit
from rhoflow.training.names import HISTORY, METRICS, base_of, parent_of, run_level
from rhoflow.training.resume import SAVE_EVERY_S, ResumeFile, StageState
from rhoflow.training.scaler import Scaler
from rhoflow.training.search.space import Values, with_values
from rhoflow.training.variants import changed_view

HISTORY_COLUMNS = ("stage", "epoch", "lr", "train_loss", "val_loss", "val_rmse")
_KEY = "key.json"
_ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Pack:
    """What the runs of a pack have in common.

    Attributes
    ----------
    root, scratch : Path
        The study's result folder, and where unfinished work is kept.
    model, target, level : str
        See `RunKey`.
    unit : str
        Of the target, as printed.
    options : Section
        What the network depends on: ``NETWORKS[model].take_options(study)``.
    training : Training
        The section of that name; of it `pack` and `frozen_levels` have no part here.
    frozen : bool
        Leave the backbone frozen.
    save_every_s : float
        Least time between two saves of an unfinished run [s].
    chosen : mapping of int to mapping
        Settings that a search chose, by fold; they take the place of those in `options` and `training`.
    """

    root: Path
    scratch: Path
    model: str
    target: str
    level: str
    unit: str
    options: Section
    training: Training
    frozen: bool = False
    save_every_s: float = SAVE_EVERY_S
    chosen: Mapping[int, Values] = field(default_factory=dict)

    @property
    def entry(self) -> Entry[Any]:
        """The registered network."""
        return NETWORKS[base_of(self.model)[0]]

    def key(self, fold: int, seed: int) -> RunKey:
        """Key of one run."""
        return RunKey(self.model, self.target, self.level, fold, seed)

    def of_fold(self, fold: int) -> Pack:
        """Pack with the settings chosen for a fold."""
        if fold not in self.chosen:
            return self
        options, training = with_values(self.options, self.training, self.chosen[fold])
        return replace(self, options=options, training=training)

    def parents(self, key: RunKey) -> dict[str, Path]:
        """Folders of the runs of the same fold and seed that `key` is built on."""
        keys = {
            name: RunKey(parent_of(self.model, name), key.target, run_level(name, key.level), key.fold, key.seed)
            for name in self.entry.parents(self.options)
        }
        return {name: parent.folder(self.root) for name, parent in keys.items()}


def train_pack(pack: Pack, runs: Sequence[tuple[int, int]], load: Callable[[int], View]) -> None:
    """Train the runs of a pack that are not finished yet, then publish all of them together.

    Parameters
    ----------
    runs : sequence of (fold, seed)
    load : callable
        Data of a fold, before what a variant changes in them.
    """
    what = f"train {pack.model} {pack.target} {pack.level}"
    cache = FeatureCache()
    share = join(pack.training.devices, pack.training.threads)
    for fold, seed in track(runs, total=len(runs), what=what) if share.first else runs:
        key = pack.key(fold, seed)
        _finish(pack.of_fold(fold), key, changed_view(load(fold), key), cache, share)
    for fold, seed in runs if share.first else ():
        _publish(pack, pack.key(fold, seed))


def run_digest(pack: Pack, key: RunKey, data: View) -> str:
    """sha256 of everything a run's result depends on: data, settings, parents, code and engine versions."""
    training = pack.training.model_dump(mode="json", exclude={"pack", "frozen_levels"})
    code = [digest_file(path) for room in (_ROOM, _ROOM.parent / "models") for path in sorted(room.glob("*.py"))]
    parents = {name: _parent_digest(folder) for name, folder in pack.parents(key).items()}
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    options = pack.options.model_dump(mode="json")
    chosen = dict(pack.chosen.get(key.fold, {}))
    settings = [options, training, chosen, pack.frozen, pack.unit]
    if options["two_part"]:
        settings.append(zero_up_to(pack.target))  # a study's own property brings its own
    return digest_json([key.name, data.digest(), settings, parents, code, versions])


def _parent_digest(folder: Path) -> str | None:
    weights = folder / WEIGHTS
    return digest_file(weights) if weights.exists() else None  # building the network explains what is missing


def _finish(pack: Pack, key: RunKey, data: View, cache: FeatureCache, share: Share) -> None:
    """Leave the run's results in scratch, unless they are there already; a process that takes part leaves nothing."""
    folder = pack.scratch / key.name
    done = folder / "done"
    digest = run_digest(pack, key, data)
    if (done / _KEY).exists() and read_json(done / _KEY) == digest:
        if share.first:
            _tell(f"{key.name}: finished earlier, adopted from {done}")
        return
    if share.first:
        shutil.rmtree(done, ignore_errors=True)
    watch = Stopwatch.start()
    resume = ResumeFile(folder / "resume.pt", digest, every_s=pack.save_every_s, writes=share.first)
    told = {"after_epoch": _Teller(key.name)} if share.first else {}
    network, scaler, fitted = train_network(
        pack, key, data, seed=key.random_seed, resume=resume, cache=cache, share=share, **told
    )
    if not share.first:
        return
    # A name of its own: a killed snakemake may have left another process at the same run, writing the same bytes.
    part = folder / f"part.{platform.node()}.{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)  # of a killed process that had the same number
    part.mkdir(parents=True)
    _write(part, pack, key, data, scaler, network, fitted)
    write_provenance(part, watch, gpu=gpu_name())
    write_json(part / _KEY, digest)
    for path in (*part.iterdir(), part):
        to_disk(path)  # before the folder gets the name that says that all is there
    if not done.exists():
        part.rename(done)
    resume.path.unlink(missing_ok=True)


def train_network(
    pack: Pack, key: RunKey, data: View, *, seed: Callable[..., int], **how: Any
) -> tuple[Network, Scaler, Fit]:
    """Build and fit the network of one run.

    Parameters
    ----------
    seed : callable
        Seed for a purpose.
    **how
        `resume`, `cache`, `after_epoch` and `share` of `fit`.
    """
    with reproducible(pack.training.threads):
        seed_torch(seed("weights"))
        network = pack.entry.make(pack.options, pack.parents(key))
        scaler = Scaler.fit(data.y[data.rows("train")], pack.training.scaling)
        if network.readout.two_part:
            network.readout.place_zero(*scaler.zero(zero_up_to(pack.target)))
        fitted = fit(network, data, training=pack.training, scaler=scaler, frozen=pack.frozen, seed=seed, **how)
    return network, scaler, fitted


def _write(folder: Path, pack: Pack, key: RunKey, data: View, scaler: Scaler, network: Network, fitted: Fit) -> None:
    after = {READOUT: fitted.y_readout, FINETUNE: fitted.y_pred}
    stages = [
        stage | {"metrics": None if (y := after[stage["name"]]) is None else score_parts(data.part, data.y, y)}
        for stage in fitted.stages
    ]
    training: dict[str, Any] = {"weights": network.weights, "stages": stages, "texts_cut": fitted.n_cut}
    if key.fold in pack.chosen:
        training["chosen"] = dict(pack.chosen[key.fold])
    pd.DataFrame(fitted.history, columns=list(HISTORY_COLUMNS)).to_csv(folder / HISTORY, index=False)
    save_state(network, folder)
    write_run(
        folder,
        key=key,
        unit=pack.unit,
        ids=data.ids,
        part=data.part,
        y_true=data.y,
        y_pred=fitted.y_pred,
        scaler=scaler,
        training=training,
    )


def _publish(pack: Pack, key: RunKey) -> None:
    """Put a finished run into its folder of results, metrics.json last."""
    done = pack.scratch / key.name / "done"
    names = sorted((file.name for file in done.iterdir() if file.name != _KEY), key=lambda name: name == METRICS)
    for name in names:
        with atomic(key.folder(pack.root) / name) as file:
            _link(done / name, file)


def _link(source: Path, file: Path) -> None:
    """Give a file a second name, which takes no space; copy it where the file system cannot."""
    try:
        file.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, file)
    file.touch()  # as new as the job that asked for it, or Snakemake would ask again


class _Teller:
    """Prints a line now and then, and one at the end of a stage."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stage = ""
        self.begin_s = self.told_s = 0.0
        self.begin_epoch = 0

    def __call__(self, name: str, stage: Stage, state: StageState) -> None:
        now = time.monotonic()
        if name != self.stage:  # the first epoch is the clock's zero
            self.stage, self.begin_s, self.told_s, self.begin_epoch = name, now, now, state.epoch
        if state.stopped is None and now - self.told_s < LOG_EVERY_S:
            return
        self.told_s = now
        last = state.history[-1]
        text = f"{self.name} {name} {state.epoch}/{stage.epochs}: training loss {last['train_loss']:.3g}, validation"
        text += f" {last['val_loss']:.3g}, best {state.best_loss:.3g} at {state.best_epoch}"
        if state.stopped:
            _tell(f"{text}; {state.stopped}")
        else:
            rate = (state.epoch - self.begin_epoch) / (now - self.begin_s)
            _tell(f"{text}; {rate:.2g} epochs/s, at most {(stage.epochs - state.epoch) / rate:.0f} s left")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
