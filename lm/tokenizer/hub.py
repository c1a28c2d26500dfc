"""Tokenizers in repositories of the Hugging Face hub."""

import os
import re
from pathlib import Path

from lm.system.messages import one_line
from lm.tokenizer.pretrained_files import LAYOUTS, holds_none


def is_repository(source: str) -> bool:
    """Whether a source has the form of a repository, `owner/name`."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) is not None


def download(repository: str, place: str) -> list[Path]:
    """The files of a model repository of the hub, in the cache that every client of the hub shares.

    `place` is the parameter that names it, for errors.
    """
    # Imported here, because it takes long and most runs do not need it.
    from huggingface_hub import _CACHED_NO_EXIST, constants, errors, hf_hub_download, try_to_load_from_cache

    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    cache, log_in = constants.HF_HUB_CACHE, "log in with `hf auth login` or set HF_TOKEN"
    try:
        for names in LAYOUTS:
            try:
                return [Path(hf_hub_download(repository, name, cache_dir=cache, endpoint=endpoint)) for name in names]
            except errors.LocalEntryNotFoundError:  # not in the cache; does the cache know that the hub lacks it?
                if try_to_load_from_cache(repository, names[0], cache) is not _CACHED_NO_EXIST:
                    raise
            except errors.EntryNotFoundError:
                pass
        raise ValueError(holds_none(repository, place))
    except errors.GatedRepoError:
        reason = f"accept its terms at {endpoint}/{repository}, then {log_in}"
    except errors.RepositoryNotFoundError:
        reason = f"no such repository; if it is private, {log_in}"
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        cause = error.__cause__ or error
        status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
        reason = f"HTTP {status}" if status else one_line(cause)
    raise ConnectionError(
        f"{place}: {repository} is not a path here and could not be fetched from {endpoint}: {reason}"
    )
