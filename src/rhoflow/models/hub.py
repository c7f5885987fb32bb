"""Weights from the Hugging Face hub: fetched where there is a network, verified where there is none.

`fetch` fills the local cache of huggingface_hub and leaves a ``weights.json`` in the repository's folder there: the
commit, and the sha256 of every file. A training reads that commit and no other, and checks the files against it.
Only files whose names are known are asked for: no pickle, no program, no path. What the server says is not believed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhoflow.config import Study
from rhoflow.errors import StudyError
from rhoflow.materials.digests import digest_file, read_json, write_json
from rhoflow.models.names import CONFIG, WEIGHTS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "hf:"
RECORD = "weights.json"
CLIP_KEY = "clip.weights"
COMMAND = "rhoflow fetch-weights --study <study's file>"
# Either pair makes a model; the second is how open_clip names its files.
_PAIRS = ((CONFIG, WEIGHTS), ("open_clip_config.json", "open_clip_model.safetensors"))
_WANTED = {
    *(name for pair in _PAIRS for name in pair),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "preprocessor_config.json"),
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Fetched:
    """A repository in the local cache.

    Attributes
    ----------
    name : str
        ``hf:<owner>/<name>``.
    commit : str
        The version that was fetched.
    folder : Path
        Where it lies.
    n_bytes : int
        Of all its files.
    """

    name: str
    commit: str
    folder: Path
    n_bytes: int


def study_weights(study: Study) -> dict[str, str]:
    """Weights that a study names, by config key; only those of the networks that it trains.

    Raises
    ------
    StudyError
        If `clip.weights` is no name that open_clip knows.
    """
    models = set(study.models)
    named = {}
    if models & {"image", "fusion"}:
        named["image.weights"] = study.image.weights
    if models & {"text", "fusion"}:
        named["language.backbone"] = study.language.backbone
    if "clip" in models:
        from rhoflow.models.clip_weights import hub_name  # here: it imports open_clip, which knows its tags

        named[CLIP_KEY] = hub_name(study.clip) or study.clip.weights
    return named


def fetch(name: str) -> Fetched:
    """Download one repository into the local cache, and record what came; whole files that are there stay.

    Parameters
    ----------
    name : str
        ``hf:<owner>/<name>``.

    Raises
    ------
    StudyError
        If there is no such repository, it has no safetensors, the network or the server fails, or a file that came
        is not the one that the server announced.
    """
    from huggingface_hub import HfApi, constants

    repository = name.removeprefix(HUB)
    if constants.HF_HUB_OFFLINE:
        raise StudyError(
            f"weights {name}: HF_HUB_OFFLINE forbids to download; run: HF_HUB_OFFLINE=0 rhoflow fetch-weights ..."
        )
    api = HfApi(endpoint=constants.ENDPOINT)
    with _told_plainly(name, str(api.endpoint)):
        info = api.model_info(repository, files_metadata=True, timeout=_TIMEOUT_S)
        commit = str(info.sha)
        if not _COMMIT.fullmatch(commit):
            raise StudyError(f"weights {name}: {api.endpoint} names the version {commit[:60]!r}, which is no commit")
        wanted = {file.rfilename: file for file in info.siblings or [] if file.rfilename in _WANTED}
        if not any(set(pair) <= wanted.keys() for pair in _PAIRS):
            raise StudyError(_no_safetensors(name, [file.rfilename for file in info.siblings or []]))
        paths = {file: _fetch_file(api, name, commit, wanted[file]) for file in sorted(wanted)}
    folder = next(iter(paths.values())).parent
    files = {file: {"sha256": digest_file(path), "bytes": path.stat().st_size} for file, path in paths.items()}
    write_json(_repository_folder(repository) / RECORD, {"commit": commit, "files": files})
    return Fetched(name, commit, folder, sum(path.stat().st_size for path in paths.values()))


def _no_safetensors(name: str, there: list[str]) -> str:
    pickled = sorted(file for file in there if Path(file).suffix in {".bin", ".pt", ".pth", ".ckpt", ".h5"})
    why = f"only {pickled[0]}, which is not read because it can run programs" if pickled else "no weights"
    return (
        f"weights {name}: the repository has {why}; needed: {CONFIG} and {WEIGHTS}. Convert it once (docs/models.md)"
        " and name the folder"
    )


def _fetch_file(api: HfApi, name: str, commit: str, announced: Any) -> Path:
    """Download a file unless it is there whole; a wrong one is asked for once more."""
    import huggingface_hub

    repository, file = name.removeprefix(HUB), announced.rfilename
    if not huggingface_hub.try_to_load_from_cache(repository, file, revision=commit):
        _check_file_name_in_cache(api, name, commit, file)
    for force in (False, True):
        path = Path(api.hf_hub_download(repository, file, revision=commit, force_download=force))
        if _is_announced(path, announced):
            return path
    found = digest_file(path)
    path.resolve().unlink()  # the content, of which `path` is a link
    path.unlink(missing_ok=True)
    raise StudyError(
        f"weights {name}: {file} came with sha256 {found}, twice, which is not what"
        f" {api.endpoint} announces; nothing of it was kept: run the command again later, or tell who keeps the hub"
    )


def _check_file_name_in_cache(api: HfApi, name: str, commit: str, file: str) -> None:
    """Refuse a hash that is none: huggingface_hub makes it the name of a file in the cache."""
    import huggingface_hub

    url = huggingface_hub.hf_hub_url(name.removeprefix(HUB), file, revision=commit, endpoint=str(api.endpoint))
    etag = str(api.get_hf_file_metadata(url=url).etag)
    if not _HASH.fullmatch(etag):
        raise StudyError(
            f"weights {name}: {api.endpoint} names the content of {file} {etag[:60]!r}, which is no hash"
        )


def _is_announced(path: Path, announced: Any) -> bool:
    """Compare a file with the size and hash that the hub lists: sha256 of large files, git's of small ones."""
    if announced.size is not None and path.stat().st_size != announced.size:
        return False
    if announced.lfs is not None:
        return bool(digest_file(path) == announced.lfs.sha256)
    if announced.blob_id is None:
        return True
    content = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return bool(git.hexdigest() == announced.blob_id)


def cached_folder(repository: str) -> Path:
    """Folder of a repository in the local cache, verified where it was recorded; nothing is downloaded.

    Raises
    ------
    StudyError
        If it is not there, or not as it was fetched; says which command brings it.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        record = _read_record(repository)
        folder = snapshot_download(repository, revision=record["commit"] if record else None, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        raise StudyError(
            f"weights {HUB}{repository}: not in the local cache {constants.HF_HUB_CACHE} (a study downloads"
            f" nothing); on a machine with network run: {COMMAND}"
        ) from None
    if record:
        _verify(Path(folder), HUB + repository, tuple((file, one["sha256"]) for file, one in record["files"].items()))
    return Path(folder)


@functools.cache  # half a gigabyte takes a second: once a process
def _verify(folder: Path, name: str, files: tuple[tuple[str, str], ...]) -> None:
    for file, sha256 in files:
        path = folder / file
        found = digest_file(path) if path.is_file() else "none, it is missing"
        if found != sha256:
            raise StudyError(
                f"weights {name}: {path} has sha256 {found}, {RECORD} says {sha256}: damaged, or replaced; on a"
                f" machine with network run: {COMMAND}"
            )


def _read_record(repository: str) -> Any:
    path = _repository_folder(repository) / RECORD
    return read_json(path) if path.is_file() else None


def _repository_folder(repository: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils._validators import validate_repo_id

    validate_repo_id(repository)  # the name becomes a path
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


@contextlib.contextmanager
def _told_plainly(name: str, endpoint: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one line that says what to do; a token is never part of it."""
    from huggingface_hub import errors

    try:
        yield
    except StudyError:
        raise
    except errors.GatedRepoError:
        raise StudyError(
            f"weights {name}: the owner wants its terms accepted first: do so at {endpoint}/{name.removeprefix(HUB)},"
            " then `hf auth login`"
        ) from None
    except errors.RepositoryNotFoundError:
        raise StudyError(
            f"weights {name}: {endpoint} has no such repository, or a private one; check the name, or `hf auth login`"
        ) from None
    except errors.HFValidationError as error:
        raise StudyError(f"weights {name}: no name of a repository ({error}); expected hf:<owner>/<name>") from None
    except OSError as error:  # of the network (HfHubHTTPError is one) or the disk
        raise StudyError(_what_failed(name, endpoint, error)) from error
    except Exception as error:  # a connection that breaks, or an answer that is none of a hub's
        raise StudyError(_what_failed(name, endpoint, error)) from error


def _what_failed(name: str, endpoint: str, error: BaseException) -> str:
    told = " ".join(str(error.__cause__ or error).split())[:200]
    return (
        f"weights {name}: could not be fetched from {endpoint} ({type(error.__cause__ or error).__name__}: {told});"
        " run the command on a machine with network (a login node); finished files are kept, so it goes on"
    )
