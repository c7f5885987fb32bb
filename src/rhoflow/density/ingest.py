"""The stage `ingest`: the density files of a shard, fetched, read, checked and written into its raw archive."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rhoflow.density.aeccar import PARTS
from rhoflow.density.record import Keep, MaterialRecord, identity, make_record
from rhoflow.density.resume import Finished, Scratch, only_writer
from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.archive import ArchiveWriter
from rhoflow.materials.disk import full_disk_stops
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track
from rhoflow.sources.fetch import Arrivals, is_remote, local_files
from rhoflow.sources.local import LocalFiles
from rhoflow.sources.plan import read_plan
from rhoflow.sources.retries import OUTAGE

Entry = Mapping[str, Any]

# What to do about downloads that all fail.
_RELIST = "delete catalog/materials_project.jsonl.gz, or correct the list, to list the source again"
_OUTAGE_ADVICE = {
    Reason.DOWNLOAD: "check the network",
    Reason.NO_DENSITY: f"check proxy and access (HTTPS_PROXY, AWS_ENDPOINT_URL_S3) or, if they are gone, {_RELIST}",
    Reason.CHECKSUM: f"check that no proxy alters them or, if they really changed, {_RELIST}",
}


def ingest_shard(
    plan: Path,
    store: Path,
    *,
    field: str,
    raw: str,
    shape: tuple[int, int, int],
    scratch: Path,
    connections: int,
    keep: Path | None,
) -> ShardReport:
    """Read the density files of a plan into a raw archive; write the archive and its report.

    One material is in memory at a time; a few downloads wait on disk. A file that cannot be had or used becomes a
    rejection. A kill at any moment loses no more than the downloads that are not read yet.

    Parameters
    ----------
    plan : Path
        ``plan/<shard>.json``; relative paths in it start at the working directory.
    store : Path
        ``raw/<shard>.h5`` to write.
    field : str
        The study's density; ``all_electron`` and ``deformation`` make the AECCAR files be read too.
    raw : str
        ``native``, ``float32`` or ``none``, see `materials.archive`.
    shape : tuple of int
        The unified grid, for ``raw: none``.
    scratch : Path
        Finished downloads stay in ``<scratch>/<shard>/``, see `density.resume`.
    connections : int
        Downloads at a time.
    keep : Path or None
        Where downloaded objects stay; None: they are deleted when they have been read.

    Returns
    -------
    ShardReport
        Statistics of a material: ``electrons``, ``formula``, ``anonymous_formula``, ``space_group_number``,
        ``prototype``, ``n_sites``; ``source``, ``bytes`` and ``sha256`` (if it was downloaded or checked) of the
        density file; ``run``: null, or the ``properties`` and ``valence`` of the run file, with a ``note`` if it
        could not be read.

    Raises
    ------
    StudyError
        If the disk is full, or the network is down.
    """
    what = Keep(field, raw, shape)
    entries = [_needed(entry, field) for entry in read_plan(plan)]
    shard = _Shard(plan.stem, entries, what, store, scratch)
    with full_disk_stops((store.parent, scratch), shard.advice):
        shard.run(connections, keep)
    return shard.report


def _needed(entry: Entry, field: str) -> Entry:
    """Leave out the AECCAR files that the field is not made of."""
    numbers = PARTS[field][0] if field in PARTS else ()
    return {**entry, "aeccar": [entry["aeccar"][k] if k in numbers else None for k in range(3)]}


def _with_locations(detail: str, entry: Entry, local: LocalFiles) -> str:
    """Name the files of a message as the plan does: a download's own path says nothing to a user."""
    paths = (local.density, local.structure, local.run, *local.aeccar)
    locations = (entry["density"], entry["structure"], entry["run"], *entry["aeccar"])
    for path, location in zip(paths, locations, strict=True):
        detail = detail.replace(str(path), location) if path else detail
    return detail


class _Shard:
    """The work on one shard."""

    def __init__(self, name: str, entries: list[Entry], what: Keep, store: Path, scratch: Path) -> None:
        self.report = ShardReport("ingest")
        self._name, self._entries, self._what, self._store = name, entries, what, store
        remote = {entry["id"]: identity(entry, what) for entry in entries if is_remote(entry)}
        self._scratch = Scratch(scratch / name, remote) if remote else None
        self._downloads = scratch / name / "_downloads"
        self._finished: dict[str, Finished] = {}
        self._failed_in_a_row = 0
        self._written = 0

    def run(self, connections: int, keep: Path | None) -> None:
        """Write the archive and the report."""
        with ExitStack() as stack:
            if self._scratch:
                stack.enter_context(only_writer(self._scratch.folder))
                self._finished = self._scratch.finished()
                if self._finished:
                    print(f"ingest {self._name}: {len(self._finished)} downloads are there already", file=sys.stderr)
                self._clean_up()
            self._write_archive(connections, keep)
            self.report.write(self._store)
            if self._scratch:
                self._scratch.close(self._store, self.report.digests, self.report.stats)

    def _clean_up(self) -> None:
        """Remove what a killed process left half done."""
        shutil.rmtree(self._downloads, ignore_errors=True)
        for part in self._store.parent.glob(f".{self._store.name}.*.part"):
            part.unlink()

    def _write_archive(self, connections: int, keep: Path | None) -> None:
        todo = [entry for entry in self._entries if entry["id"] not in self._finished]
        files = local_files(todo, self._downloads, connections=connections, keep=keep)
        progress = track(
            self._entries,
            total=len(self._entries),
            what=f"ingest {self._name}",
            rejected=lambda: len(self.report.rejected),
        )
        with ArchiveWriter(self._store) as archive, closing(files):

            def make(material_id: str, entry: Entry) -> None:
                if is_remote(entry):
                    finished = self._finished.get(material_id) or self._download(entry, files)
                    archive.copy(finished.archive, material_id)
                    self.report.accept(material_id, finished.digest, **finished.stats)
                else:
                    record = self._record(entry, files)
                    digest = archive.add(material_id, record.structure, record.fields, **record.attrs)
                    self.report.accept(material_id, digest, **record.stats)
                self._written = archive.size

            self.report.each(((entry["id"], entry) for entry in progress), make)
            self._check_some_came()

    def _download(self, entry: Entry, files: Arrivals) -> Finished:
        """Make the record of a remote material, and save it at once."""
        assert self._scratch
        return self._scratch.save(entry["id"], self._record(entry, files))

    def _record(self, entry: Entry, files: Arrivals) -> MaterialRecord:
        """Take the next material's files and read them."""
        arrived, local = next(files)
        assert arrived["id"] == entry["id"]
        if isinstance(local, RejectedMaterialError):
            self._count_failures(entry, local)
            raise local
        self._failed_in_a_row = 0
        try:
            return make_record(entry, local, self._what)
        except RejectedMaterialError as error:
            raise RejectedMaterialError(error.reason, _with_locations(error.detail, entry, local)) from error

    def _count_failures(self, entry: Entry, error: RejectedMaterialError) -> None:
        """Stop where many files in a row cannot be had: a study would go on as if what is left were all there is.

        One that is absent, though its size was listed, counts too: a bucket or proxy that refuses answers 403, as for
        an absent object.
        """
        listed = is_remote(entry) and entry["bytes"] is not None
        reasons = {Reason.DOWNLOAD, *((Reason.NO_DENSITY, Reason.CHECKSUM) if listed else ())}
        self._failed_in_a_row = self._failed_in_a_row + 1 if error.reason in reasons else 0
        if self._failed_in_a_row >= OUTAGE:
            raise StudyError(
                f"ingest {self._name}: {OUTAGE} downloads failed one after the other, the last with: {error.detail};"
                f" {_OUTAGE_ADVICE[error.reason]}, then run again: finished materials are kept"
            ) from error

    def _check_some_came(self) -> None:
        """Stop where all downloads failed, however few they are: rejections would stay when the network is back."""
        remote = [entry["id"] for entry in self._entries if is_remote(entry)]
        failed = {key for key, entry in self.report.rejected.items() if entry["reason"] == Reason.DOWNLOAD}
        if remote and failed.issuperset(remote):
            raise StudyError(
                f"ingest {self._name}: none of its {len(remote)} downloads came; the last failed with:"
                f" {self.report.rejected[remote[-1]]['detail']}. If only these fail, each time, leave them out of the"
                " selection or list"
            )

    def advice(self) -> str:
        """Say what the shard needs of the disk, and what would need less."""
        done, n = len(self.report.digests), len(self._entries)
        needed = self._written / max(done, 1) * n * (2 if self._scratch else 1)
        size = f"{done} of {n} materials of shard {self._name} take {self._written / 1e9:.3g} GB"
        size += f", all need about {needed / 1e9:.3g} GB" if done else ""
        size += " (with the copies that a kill must not lose)" if done and self._scratch else ""
        less = {"native": "raw: float32 (half of it) or ", "float32": "", "none": None}[self._what.raw]
        smaller = "" if less is None else f" set {less}raw: none (the unified grid alone),"
        return f"{size}. Free some,{smaller} or put results/ and scratch/ on another disk; then run again"
