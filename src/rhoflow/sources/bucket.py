"""Objects of a public S3 bucket: no key needed, tried again when the network fails, checked on arrival."""

from __future__ import annotations

import contextlib
import hashlib
import re
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rhoflow.errors import Reason, RejectedMaterialError, StudyError
from rhoflow.materials.digests import atomic
from rhoflow.sources.retries import TRIES, WAIT_S, TryAgainError, retry_after, retrying

Answer = TypeVar("Answer")
REGION = "us-east-1"  # where the Materials Project keeps its open data
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60  # without a byte, not for a whole object
CHUNK = 1 << 20
LARGEST = 16 << 30  # no density is so big: the largest grid of the Materials Project is 157 M points, about 3 GB
_REFUSED = 403  # S3 says so of an absent object to those who may not list the bucket; so does a proxy of everything
_ABSENT = (_REFUSED, 404)
_PASSING = {"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Head:
    """What the bucket says of an object.

    Attributes
    ----------
    size : int
        Bytes.
    etag : str
        Without its quotes: the md5 of an object uploaded in one part.
    """

    size: int
    etag: str


@dataclass(frozen=True)
class Absent:
    """There is no such object; with `refused` (403) the bucket perhaps only does not show it."""

    refused: bool


class _AbsentError(Exception):
    """There is no such object."""

    def __init__(self, absent: Absent) -> None:
        super().__init__(absent)
        self.absent = absent


class _DifferentError(TryAgainError):
    """Bytes arrived that are not the object's."""


class _UnreachableError(TryAgainError):
    """There was no connection, which is never an object's fault."""


class Bucket:
    """Reader of public objects, for many threads at once.

    Endpoint and proxies are boto3's own business (``AWS_ENDPOINT_URL_S3``, ``HTTPS_PROXY``).

    Parameters
    ----------
    connections : int
        Connections that are kept open.
    wait : float
        Scale of the backoff [s].
    """

    def __init__(self, *, connections: int = 4, wait: float = WAIT_S) -> None:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        self._wait = wait
        self._client: Any = boto3.client(
            "s3",
            region_name=REGION,
            config=Config(
                signature_version=UNSIGNED,
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                max_pool_connections=connections,
                retries={"total_max_attempts": 1, "mode": "standard"},  # ours also cover the body
            ),
        )

        # Pools and threads come and go; their connections must not stay open.
        weakref.finalize(self, self._client.close)

    def head(self, location: str) -> Head | Absent:
        """Size and etag of ``s3://bucket/key``, or that there is no such object.

        Raises
        ------
        RejectedMaterialError
            With `Reason.DOWNLOAD` if the bucket gave no answer in six tries.
        StudyError
            If it could not be reached in six tries.
        """
        bucket, key = split_location(location)
        try:
            return self._ask(location, lambda: _head(self._client.head_object(Bucket=bucket, Key=key)))
        except _AbsentError as error:
            return error.absent

    def fetch(
        self,
        location: str,
        path: Path,
        *,
        size: int | None = None,
        sha256: str | None = None,
        etag: str | None = None,
    ) -> str:
        """Download ``s3://bucket/key`` to `path`, which is either whole and right or not there.

        Parameters
        ----------
        size : int, optional
            Bytes that it must have.
        sha256 : str, optional
            Hex digest that it must have.
        etag : str, optional
            Etag that it must have (see `Head`): another one means that the object changed.

        Returns
        -------
        str
            sha256 of the file, in hex.

        Raises
        ------
        RejectedMaterialError
            `Reason.NO_DENSITY` if there is no such object, `Reason.CHECKSUM` if what arrives is not what was
            announced, `Reason.DOWNLOAD` if six tries failed.
        StudyError
            If the bucket could not be reached in six tries, or `path` cannot be written.
        """
        try:
            return self._ask(location, lambda: self._download(location, path, size, sha256, etag))
        except _AbsentError as error:
            answered = "403 (absent, or access refused)" if error.absent.refused else "404"
            detail = f"{location}: there is no such object, the bucket answers {answered}"
            rejection = RejectedMaterialError(Reason.NO_DENSITY, detail)
        raise rejection

    def _ask(self, location: str, request: Callable[[], Answer]) -> Answer:
        """Send a request until it gives an answer, at most `TRIES` times."""
        try:
            return retrying(self._wait)(lambda: self._try(request))
        except _DifferentError as error:
            rejection: Exception = RejectedMaterialError(Reason.CHECKSUM, f"{location}: {error}; {TRIES} tries")
        except _UnreachableError as error:
            detail = (
                f"{location}: {error}; {TRIES} tries. The bucket cannot be reached: check the network, HTTPS_PROXY"
            )
            rejection = StudyError(f"{detail} and AWS_ENDPOINT_URL_S3, then run again: what is done is kept")
        except TryAgainError as error:
            detail = f"{location}: {error}; {TRIES} tries; check the network, then run again"
            rejection = RejectedMaterialError(Reason.DOWNLOAD, detail)
        raise rejection

    def _try(self, request: Callable[[], Answer]) -> Answer:
        """Send a request once, and sort what may go wrong into absent, passing and final."""
        from botocore import exceptions
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        try:
            return request()
        except exceptions.ClientError as error:
            raise _client_error(error.response) from error
        except exceptions.ConnectionError as error:
            raise _UnreachableError(f"{type(error).__name__}: {error}") from error
        except (
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
            exceptions.FlexibleChecksumError,
            ResponseParserError,
            HTTPError,  # of a body whose encryption breaks: botocore lets it pass
        ) as error:
            raise TryAgainError(f"{type(error).__name__}: {error}") from error

    def _download(self, location: str, path: Path, size: int | None, sha256: str | None, etag: str | None) -> str:
        from botocore.exceptions import BotoCoreError

        bucket, key = split_location(location)
        answer = self._client.get_object(Bucket=bucket, Key=key)
        head = _head(answer)
        try:
            with contextlib.closing(answer["Body"]), atomic(path) as part:
                _check_head(location, head, size, etag)
                written = _write(answer["Body"].iter_chunks(CHUNK), part)
                _check_bytes(location, written, head, sha256, md5_known=_etag_is_md5(head.etag, answer))
        except BotoCoreError:  # some are OSErrors too, but not of this machine
            raise
        except OSError as error:
            raise StudyError(
                f"{path}: cannot be written ({error.strerror or error}); free disk space or move the results folder,"
                " then run again: what is done is kept"
            ) from error
        return written.sha256


@dataclass(frozen=True)
class _Written:
    """What arrived."""

    size: int
    md5: str
    sha256: str


def split_location(location: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises
    ------
    StudyError
        If it is no such location.
    """
    bucket, slash, key = location.removeprefix("s3://").partition("/")
    if not location.startswith("s3://") or not bucket or not slash or not key:
        raise StudyError(f"location {location!r}: it must be s3://bucket/key")
    return bucket, key


def _client_error(response: dict[str, Any]) -> Exception:
    """Sort a refusal of S3 into passing, absent and final."""
    meta = response.get("ResponseMetadata", {})
    status, code = meta.get("HTTPStatusCode", 0), response.get("Error", {}).get("Code", "")
    if code in _PASSING or status == 429 or status >= 500:
        return TryAgainError(f"the bucket answered {status} {code}", retry_after(meta.get("HTTPHeaders", {})))
    if status in _ABSENT:
        return _AbsentError(Absent(refused=status == _REFUSED))
    return RejectedMaterialError(Reason.DOWNLOAD, f"the bucket refused with {status} {code}")


def _head(answer: dict[str, Any]) -> Head:
    if "ContentLength" not in answer:
        raise TryAgainError("an answer without a length")
    return Head(int(answer["ContentLength"]), str(answer.get("ETag", "")).strip('"'))


def _etag_is_md5(etag: str, answer: dict[str, Any]) -> bool:
    """Only of an object that came in one part and is not encrypted with somebody's own key."""
    own_key = "kms" in answer.get("ServerSideEncryption", "") or "SSECustomerAlgorithm" in answer
    return bool(_MD5.fullmatch(etag)) and not own_key


def _check_head(location: str, head: Head, size: int | None, etag: str | None) -> None:
    """Refuse an object that is not the one that was listed, before its bytes are fetched."""
    for what, came, wanted in (("bytes", head.size, size), ("etag", head.etag, etag)):
        if wanted is not None and came != wanted:
            raise _changed(location, f"{what} {came} instead of {wanted}")
    if head.size > LARGEST:
        detail = f"{location}: {head.size} bytes, more than any density has ({LARGEST}); look at the object"
        raise RejectedMaterialError(Reason.UNREADABLE, detail)


def _check_bytes(location: str, written: _Written, head: Head, sha256: str | None, *, md5_known: bool) -> None:
    """Compare what arrived with what the bucket announced (another try may help), then with what is wanted."""
    if written.size != head.size:
        raise _DifferentError(f"{written.size} bytes came of {head.size}")
    if md5_known and written.md5 != head.etag:
        raise _DifferentError(f"md5 {written.md5} instead of {head.etag}")
    if sha256 is not None and written.sha256 != sha256:
        problem = f"sha256 {written.sha256} instead of {sha256}"
        raise _changed(location, problem) if md5_known else _DifferentError(problem)


def _changed(location: str, problem: str) -> RejectedMaterialError:
    detail = f"{location}: {problem}: the object is not the one that was listed; list the source again"
    return RejectedMaterialError(Reason.CHECKSUM, detail)


def _write(chunks: Iterator[bytes], path: Path) -> _Written:
    md5, sha, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            md5.update(chunk)
            sha.update(chunk)
            size += len(chunk)
    return _Written(size, md5.hexdigest(), sha.hexdigest())
