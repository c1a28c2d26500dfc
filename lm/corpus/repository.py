"""A dataset repository of the Hugging Face hub at one commit, and its files on this machine's disk.

Downloads go into the cache that all clients of the hub share, where `huggingface_hub` looks for them. This module
fetches the bytes itself, over plain HTTP, because `hf_hub_download` resumes a download only within one call. It deletes
the partial file when the call or the process ends: a download interrupted at 9 of 10 gigabytes would start again.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import NamedTuple, TypeVar

from huggingface_hub import (
    HfApi,
    HfFileMetadata,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# The parent class of all errors of its HTTP client. The client itself differs between major versions.
from huggingface_hub.errors import HTTPError as ClientError  # type: ignore[attr-defined]
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]
from tqdm import tqdm

from lm.system.files import replacing
from lm.system.messages import one_line

DELAYS_S = (1, 2, 4, 8, 16, 32)  # between the attempts at one request
LISTING_TIMEOUT_S = 60
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"

T = TypeVar("T")


class Wanted(NamedTuple):
    """A repository as parameters name it, and the section of these parameters, for errors."""

    repository: str
    revision: str | None
    section: str


@dataclass(frozen=True)
class Repository:
    """A dataset repository at one commit, with the names of all its files, sorted.

    `section` is that of the parameters which name it, for errors.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    section: str = "data"

    @classmethod
    def at(
        cls, name: str, revision: str | None, delays_s: Sequence[int] = DELAYS_S, section: str = "data"
    ) -> "Repository":
        """The repository `org/name` at a branch, tag or commit; None means its main branch.

        `delays_s` are the pauses between the attempts to reach the hub.

        Raises:
            ValueError: if there is no such repository or revision, or this user may not read it.
            ConnectionError: if the hub does not answer.
        """
        api = HfApi(endpoint=_endpoint())
        info = persist(
            lambda: api.dataset_info(name, revision=revision, timeout=LISTING_TIMEOUT_S),
            name,
            Wanted(name, revision, section),
            delays_s,
        )
        files = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
        if info.sha is None:
            raise ConnectionError(f"{name}: {_endpoint()} sent no commit, so it is not a Hugging Face hub")
        return cls(name, info.sha, files, section)

    @classmethod
    def commit_of(cls, name: str, revision: str | None, section: str = "data") -> str:
        """The commit that a revision of the repository `org/name` names now; None means its main branch.

        A commit is not asked for. If the hub cannot be reached, it is the commit that the cache of the hub remembers
        from the last time, and a line on stderr says so.

        Raises:
            ValueError, ConnectionError: as in `at`.
            OSError: an error of the disk, unchanged.
        """
        if revision is not None and re.fullmatch("[0-9a-f]{40}", revision):
            return revision
        folder = repo_folder_name(repo_id=name, repo_type="dataset")
        # Where all clients of the hub note the commits of branches.
        reference = Path(constants.HF_HUB_CACHE, folder, "refs", revision or constants.DEFAULT_REVISION)
        known = reference.read_text().strip() if reference.is_file() else None
        try:
            commit = cls.at(name, revision, DELAYS_S if known is None else DELAYS_S[:2], section).commit
        except ConnectionError as error:
            if known is None:
                raise
            tqdm.write(f"{error}; until then this takes {name} at {known}, as it was the last time", sys.stderr)
            return known
        if commit != known:
            with replacing(reference) as file:
                file.write(commit.encode())
        return commit

    @property
    def wanted(self) -> Wanted:
        """What was asked for, at the commit that was found."""
        return Wanted(self.name, self.commit, self.section)

    def download(self, file: str) -> Path:
        """The path of a file in the cache. A missing file is downloaded, and a partial download is resumed.

        Raises:
            ValueError, ConnectionError: as in `at`.
            OSError: an error of the disk, unchanged.
        """
        cached = try_to_load_from_cache(self.name, file, constants.HF_HUB_CACHE, self.commit, "dataset")
        if isinstance(cached, str):
            return Path(cached)
        return persist(lambda: self._download(file), f"{self.name}/{file}", self.wanted)

    def check_access(self) -> None:
        """Raise the error that a download would raise, such as that of a repository whose terms must be accepted."""
        if self.files:
            file = self.files[0]
            persist(lambda: self._look_up(file), f"{self.name}/{file}", self.wanted)

    def _look_up(self, file: str) -> tuple[str, HfFileMetadata]:
        """The address of a file, and what the hub says about it."""
        url = hf_hub_url(self.name, file, repo_type="dataset", revision=self.commit, endpoint=_endpoint())
        return url, get_hf_file_metadata(url, endpoint=_endpoint())

    def _download(self, file: str) -> Path:
        url, metadata = self._look_up(file)
        if metadata.etag is None:
            raise ConnectionError(f"{_endpoint()} sent no ETag")
        folder = repo_folder_name(repo_id=self.name, repo_type="dataset")
        blob = Path(constants.HF_HUB_CACHE, folder, "blobs", metadata.etag)
        lock = Path(constants.HF_HUB_CACHE, ".locks", folder, f"{metadata.etag}.lock")
        for path in (blob, lock):
            path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if not blob.exists():
                _fill(blob, url, metadata.size, file)
        # Finds the blob in the cache, and adds the name under which all clients look for it.
        return Path(
            hf_hub_download(
                self.name,
                file,
                repo_type="dataset",
                revision=self.commit,
                cache_dir=constants.HF_HUB_CACHE,
                endpoint=_endpoint(),
            )
        )


def _fill(blob: Path, url: str, size: int | None, file: str) -> None:
    """Download to `blob`, whose name is the ETag of its content. The partial file survives an interruption."""
    partial = blob.with_name(f"{blob.name}.incomplete")
    if size is not None and partial.exists() and partial.stat().st_size > size:
        partial.unlink()
    # No compression, because ranges must count the bytes of the file.
    headers = build_hf_headers(headers={"Accept-Encoding": "identity"})
    with partial.open("ab") as out:
        http_get(url, out, resume_size=out.tell(), headers=headers, expected_size=size, displayed_filename=file)
    if re.fullmatch("[0-9a-f]{64}", blob.name):  # the ETag of a large file is its SHA-256
        with partial.open("rb") as done:
            digest = hashlib.file_digest(done, "sha256").hexdigest()
        if digest != blob.name:
            partial.unlink()
            raise ConnectionError(f"damaged during the download: SHA-256 must be {blob.name}, got {digest}")
    partial.replace(blob)


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def persist(call: Callable[[], T], place: str, wanted: Wanted, delays_s: Sequence[int] = DELAYS_S) -> T:
    """The result of a call to the hub. After a temporary failure it calls again, with growing delays.

    `place` stands at the start of errors. Errors other than those of the client, the disk and values pass unchanged.

    Raises:
        ValueError, ConnectionError, OSError: as in `Repository`.
    """
    for attempt, delay_s in enumerate((*delays_s, None), start=1):
        try:
            return call()
        except (ClientError, EntryNotFoundError, OSError, ValueError) as raised:
            error: Exception = raised
            if isinstance(raised, LocalEntryNotFoundError) and isinstance(raised.__cause__, Exception):
                error = raised.__cause__  # it says "not in the cache"; its cause says why the hub did not answer
            if not _may_pass(error):
                raise _explained(error, place, wanted) from None
            reason = _one_line(error)
            if delay_s is None:
                raise ConnectionError(
                    f"{place}: {_endpoint()} failed {attempt} times, the last time with: {reason}; check the network "
                    "(and HF_ENDPOINT, if set) and run again: what is downloaded is kept"
                ) from None
            tqdm.write(f"{place}: {reason}; attempt {attempt + 1} of {len(delays_s) + 1} in {delay_s} s", sys.stderr)
            time.sleep(delay_s)
    raise AssertionError("the last attempt returns or raises")


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # http_get reports a file of the wrong size as a bare OSError.
    return isinstance(error, ClientError | ConnectionError | TimeoutError) or (
        type(error) is OSError and error.errno is None
    )


def _explained(error: Exception, place: str, wanted: Wanted) -> Exception:
    """The error for the user, in one line, when the failure is not temporary."""
    repository, revision, section = wanted
    match error:
        case OfflineModeIsEnabled():
            return ConnectionError(f"{place}: cannot be downloaded while HF_HUB_OFFLINE is set; unset it and run again")
        case JSONDecodeError():
            return ConnectionError(f"{place}: {_endpoint()} does not answer as a Hugging Face hub: {_one_line(error)}")
        case HFValidationError():
            return ValueError(f"{section}.dataset: must be a repository as 'org/name', got {repository!r}")
        case GatedRepoError():
            page = f"{_endpoint()}/datasets/{repository}"
            return ValueError(f"{section}.dataset: {repository} is gated: accept its terms at {page}, then {LOG_IN}")
        case RepositoryNotFoundError():
            rule = f"must be a dataset on {_endpoint()} that you may read (for a private one, {LOG_IN})"
            return ValueError(f"{section}.dataset: {rule}, got {repository!r}")
        case RevisionNotFoundError():
            return ValueError(f"{section}.revision: must be a branch, tag or commit of {repository}, got {revision!r}")
        case EntryNotFoundError():
            return ValueError(f"{place}: no such file at commit {revision}")
        case HfHubHTTPError() if error.response.status_code in (401, 403):
            return ValueError(f"{place}: not allowed (HTTP {error.response.status_code}): {LOG_IN}")
        case OSError() if error.errno is not None:  # an error of the disk
            return error
        case OSError():
            return ConnectionError(f"{place}: {_one_line(error)}")
        case _:
            return ValueError(f"{place}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return f"HTTP {error.response.status_code}"
    return one_line(error) or type(error).__name__
