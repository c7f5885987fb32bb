"""The text store of a shard: ``text/<shard>.jsonl``, one material a line.

Keys of a line: ``id``, ``formula``, ``keywords``, ``all`` (the text at its three levels), ``origin``
(``materials_project``, ``robocrystallographer`` or ``fallback``) and ``note`` (null, or why no better one).
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

from rhoflow.materials.archive import Record, read_archive, read_ids
from rhoflow.materials.digests import atomic, digest_json
from rhoflow.materials.shards import ShardReport
from rhoflow.progress import track
from rhoflow.text.describe import Describer, Description
from rhoflow.text.levels import formula, keywords

TextRecord = dict[str, str | None]


def describe_shard(archive: Path, store: Path, *, timeout_s: float, given: Path | None = None) -> ShardReport:
    """Describe every crystal of a raw archive; write the text store and its report.

    A text depends on the structure alone, or is the source's own. No material is rejected: one that
    robocrystallographer cannot describe gets the fall-back text, with the origin and the reason in its line and in
    the report's statistics.

    Parameters
    ----------
    archive : Path
        ``raw/<shard>.h5``; its densities are not read.
    store : Path
        ``text/<shard>.jsonl`` to write.
    timeout_s : float
        Time for one crystal.
    given : Path, optional
        ``plan/<shard>.texts.json.gz``, texts of the Materials Project by id, which are taken where they are there.
    """
    texts_given = json.loads(gzip.decompress(given.read_bytes())) if given else {}
    describer = Describer(timeout_s)
    report = ShardReport("describe")
    texts = []
    records = track(read_archive(archive), total=len(read_ids(archive)), what=f"describe {archive.stem}")
    for record in records:
        text = _text_record(record, describer, texts_given.get(record.material_id))
        report.accept(record.material_id, digest_json(text), origin=text["origin"], note=text["note"])
        texts.append(text)
    lines = [json.dumps(text, sort_keys=True, ensure_ascii=False) + "\n" for text in texts]
    with atomic(store) as part:
        part.write_text("".join(lines), encoding="utf-8")
    report.write(store)
    return report


def _text_record(record: Record, describer: Describer, given: str | None) -> TextRecord:
    """Levels of the text that is given, if it can be read as one, else of our own description."""
    if given is not None:
        try:
            return _levels(record.material_id, Description(given, "materials_project"))
        except ValueError as error:
            description = describer.describe(record.structure)
            note = description.note or f"not the source's text: {error}"
            return _levels(record.material_id, dataclasses.replace(description, note=note))
    return _levels(record.material_id, describer.describe(record.structure))


def _levels(material_id: str, description: Description) -> TextRecord:
    return {
        "id": material_id,
        "formula": formula(description.text),
        "keywords": keywords(description.text),
        "all": description.text,
        "origin": description.origin,
        "note": description.note,
    }


def read_texts(store: Path) -> dict[str, TextRecord]:
    """Read a text store: the lines by material id, in the order of the file."""
    # Split at "\n" only: splitlines() would also cut at a line separator inside a text.
    lines = store.read_text(encoding="utf-8").split("\n")
    texts = [json.loads(line) for line in lines if line]
    return {text["id"]: text for text in texts}
