"""Models on the Hugging Face hub: fetched, and sent there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, errors

from lm.system.messages import one_line

Result = TypeVar("Result")

_LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def download_model(repository: str, revision: str | None) -> Path:
    """The folder of a model in the cache that every client of the hub shares: configuration, weights, tokenizer.

    Raises:
        ValueError: when there is no such repository.
        ConnectionError: when the hub does not answer.
    """
    wanted = ["*.json", "*.jinja", "*.safetensors", "merges.txt"]
    return Path(
        _asking(repository, lambda api: api.snapshot_download(repository, revision=revision, allow_patterns=wanted))
    )


def upload_model(folder: Path, repository: str, message: str, private: bool) -> str:
    """Send all files of a folder to a repository, which is made if there is none; the address of its page.

    Raises:
        ValueError: when this user may not write there.
        ConnectionError: when the hub does not answer.
    """

    def send(api: HfApi) -> str:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
        return str(address)

    return _asking(repository, send)


def _asking(repository: str, ask: Callable[[HfApi], Result]) -> Result:
    """What the hub answers; its errors as one line that says what to do."""
    endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
    try:
        return ask(HfApi(endpoint=endpoint))
    except errors.HFValidationError as error:
        raise ValueError(f"{repository}: must be a folder, or a repository as OWNER/NAME: {one_line(error)}") from None
    except errors.GatedRepoError:
        raise ValueError(f"{repository}: accept its terms at {endpoint}/{repository}, then {_LOG_IN}") from None
    except errors.RepositoryNotFoundError:
        raise ValueError(f"{repository}: no such repository at {endpoint}; if it is private, {_LOG_IN}") from None
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repository}: {one_line(error)}") from None
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403):
            raise ValueError(f"{repository}: you may not do this at {endpoint}: {_LOG_IN}") from None
        raise ConnectionError(f"{repository}: {endpoint} answered: {one_line(error)}") from None
    except (errors.HTTPError, errors.LocalEntryNotFoundError, OSError) as error:  # type: ignore[attr-defined]
        cause = error.__cause__ or error
        raise ConnectionError(
            f"{repository}: is no folder here, and {endpoint} does not answer: {one_line(cause)}"
        ) from None
