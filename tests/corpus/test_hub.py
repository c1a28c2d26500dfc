"""Tests of lm/corpus/hub.py and lm/corpus/repository.py against a hub on loopback."""

import errno
import gzip
import hashlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import huggingface_hub.constants
import pytest

from lm.corpus import repository
from lm.corpus.document import SEPARATOR
from lm.corpus.hub import open_hub
from lm.corpus.repository import Repository
from tests.corpus.conftest import LARGE_TEXT, data_config, documents, jsonl, parquet, text_file, texts_of
from tests.corpus.hub_server import Fault, Hub

ROOT = Path(__file__).parents[2]
PAUSE = threading.Event()  # waits where time.sleep does not


# The known datasets


def test_tinystories_are_the_text_files_of_the_second_version(hub: Hub) -> None:
    hub.repository("roneneldan/TinyStories").commit(
        {
            "README.md": b"",
            "TinyStories-train.txt": text_file(["first version"]),
            "TinyStoriesV2-GPT4-train.txt": text_file(["One day.\n\nTwo", LARGE_TEXT]),
            "TinyStoriesV2-GPT4-valid.txt": text_file(["Once."]),
            "data/train-00000-of-00001-2d5a1467fff1081b.parquet": parquet(["first version"]),
        }
    )
    # The column and the separator are those of the dataset, whatever local files of the user look like.
    texts = documents("tinystories", text_column="body", separator="---")
    assert texts == {"train": ["One day.\n\nTwo", LARGE_TEXT], "valid": ["Once."]}


def test_tinystories_v1_are_its_parquet_splits(hub: Hub) -> None:
    hub.repository("roneneldan/TinyStories").commit(
        {
            "TinyStoriesV2-GPT4-train.txt": text_file(["second version"]),
            "data/train-00001-of-00002-aa.parquet": parquet(["c", "d"]),
            "data/train-00000-of-00002-aa.parquet": parquet(["a", "b"]),
            "data/validation-00000-of-00001-aa.parquet": parquet(["v"]),
        }
    )
    assert documents("tinystories-v1") == {"train": ["a", "b", "c", "d"], "valid": ["v"]}


def test_owt_sample_is_gzipped_text(hub: Hub) -> None:
    train = f"one\ntwo{SEPARATOR}three\n{SEPARATOR}\nfour{SEPARATOR}\n{SEPARATOR}{LARGE_TEXT}".encode()
    files = {"owt_train.txt.gz": gzip.compress(train), "owt_valid.txt.gz": gzip.compress(b"held")}
    hub.repository("stanford-cs336/owt-sample").commit(files)
    assert documents("owt-sample") == {"train": ["one\ntwo", "three", "four", LARGE_TEXT], "valid": ["held"]}


def test_owt_holds_documents_out(hub: Hub) -> None:
    texts = [f"page {i}" for i in range(60)]
    files = {f"plain_text/train-0000{i}-of-00003.parquet": parquet(texts[20 * i : 20 * i + 20]) for i in range(3)}
    hub.repository("Skylion007/openwebtext").commit({"openwebtext.py": b""} | files)
    got = documents("owt", valid_fraction=0.2)
    assert sorted(got["train"] + got["valid"]) == sorted(texts)
    assert got["train"] == [text for text in texts if text in got["train"]]
    assert 2 <= len(got["valid"]) <= 25


# Revisions and facts


def test_a_revision_is_pinned_to_its_commit(hub: Hub) -> None:
    stored = hub.repository("org/name")
    old = stored.commit({"train.txt": text_file(["old"]), "valid.txt": b"held"})
    new = stored.commit({"train.txt": text_file(["new"]), "valid.txt": b"held"})
    stored.commit({"train.txt": text_file(["other"]), "valid.txt": b"held"}, branch="other")
    for revision, commit, text in ((None, new, "new"), ("main", new, "new"), (old, old, "old")):
        corpus = open_hub(data_config(dataset="org/name", revision=revision))
        assert corpus.facts == {
            "repository": "org/name",
            "commit": commit,
            "configuration": "default",
            "splits": {"train": "train", "valid": "validation"},
            "files": {"train": ["train.txt"], "valid": ["valid.txt"]},
        }
        assert texts_of(corpus)["train"] == [text]
    assert documents("org/name", revision="other")["train"] == ["other"]


def test_a_branch_that_moves_during_the_pass_changes_nothing(hub: Hub) -> None:
    stored = hub.repository("org/name")
    stored.commit({"train.txt": text_file(["old", LARGE_TEXT]), "valid.txt": b"held"})
    corpus = open_hub(data_config(dataset="org/name"))
    stored.commit({"train.txt": text_file(["new", LARGE_TEXT]), "valid.txt": b"held"})
    assert texts_of(corpus)["train"] == ["old", LARGE_TEXT]
    assert len(hub.downloads()) == 1


# Downloads


def test_only_needed_files_are_downloaded(hub: Hub) -> None:
    files = {f"train-{i}.jsonl": jsonl([f"{i}a", f"{i}b"]) for i in range(3)}
    hub.repository("org/name").commit(files | {"valid.jsonl": jsonl(["held"]), "test.jsonl": jsonl(["test"])})
    corpus = open_hub(data_config(dataset="org/name", max_documents=4))
    assert not hub.asked_for("train-0.jsonl")
    assert texts_of(corpus) == {"train": ["0a", "0b", "1a", "1b"], "valid": ["held"]}
    assert hub.asked_for("train-1.jsonl")
    assert not hub.asked_for("train-2.jsonl")
    assert not hub.asked_for("test.jsonl")


def test_a_downloaded_file_is_not_downloaded_again(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    first = documents("org/name")
    hub.requests.clear()
    assert documents("org/name") == first
    assert not hub.downloads()
    assert not hub.asked_for("train.txt")


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_connection_is_resumed_where_it_ended(hub: Hub, reset: bool) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    hub.faults.append(Fault("/content/", times=2, after=5500, reset=reset))
    assert documents("org/name")["train"] == [LARGE_TEXT]
    starts = [int((request.range or "bytes=0-")[6:-1]) for request in hub.downloads()]
    assert len(starts) == 3
    assert starts[0] == 0
    if reset:  # what the system had received but not yet passed on is lost with the connection
        assert starts == sorted(starts)
    else:
        assert starts == [0, 5000, 10_000]  # whole chunks are kept


def test_a_later_run_resumes_what_an_earlier_one_left(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    hub.faults.append(Fault("/content/", times=1, after=7000))
    hub.faults.append(Fault("/content/", times=100, status=503))
    with pytest.raises(ConnectionError, match=r"what is downloaded is kept$"):
        documents("org/name")
    hub.faults.clear()
    hub.requests.clear()
    assert documents("org/name")["train"] == [LARGE_TEXT]
    assert [request.range for request in hub.downloads()] == ["bytes=7000-"]


def test_a_killed_process_is_resumed(hub: Hub, tmp_path: Path) -> None:
    data = random.Random(0).randbytes(11 * 2**20)  # the client writes in steps of 10 MiB
    hub.repository("org/name").commit({"train.txt": data})
    hub.faults.append(Fault("/content/", times=1, after=len(data) - 1, stall=True))
    program = "from lm.corpus.repository import Repository; Repository.at('org/name', None).download('train.txt')"
    partial = tmp_path / f"hub/datasets--org--name/blobs/{hashlib.sha256(data).hexdigest()}.incomplete"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (partial.exists() and partial.stat().st_size >= 10 * 2**20):
            PAUSE.wait(0.02)
        process.kill()
    path = Repository.at("org/name", None).download("train.txt")
    assert path.read_bytes() == data
    assert [request.range for request in hub.downloads()] == [None, f"bytes={10 * 2**20}-"]


def test_a_damaged_partial_file_is_dropped(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = text_file([LARGE_TEXT])
    hub.repository("org/name").commit({"train.txt": data, "valid.txt": b"held"})
    blobs = tmp_path / "hub/datasets--org--name/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(data).hexdigest()}.incomplete").write_bytes(b"not the start")
    assert documents("org/name")["train"] == [LARGE_TEXT]
    assert [request.range for request in hub.downloads()] == ["bytes=13-", None]
    assert "org/name/train.txt: damaged during the download: SHA-256 must be" in capfd.readouterr().err


def test_the_token_stays_with_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    documents("org/name")
    assert {request.authorization for request in hub.downloads()} == {None}
    others = {request.authorization for request in hub.requests if request not in hub.downloads()}
    assert "Bearer hf_secret" in others


# Failures


@pytest.mark.parametrize("where", ["/api/datasets/org/name", "/resolve/", "/content/"])
@pytest.mark.parametrize("status", [500, 503])
def test_failures_that_pass_are_waited_for(
    hub: Hub, delays_s: list[float], capfd: pytest.CaptureFixture[str], where: str, status: int
) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    hub.faults.append(Fault(where, times=2, status=status))
    assert Repository.at("org/name", None).download("train.txt").read_bytes() == text_file([LARGE_TEXT])
    assert delays_s == [1, 2]
    lines = capfd.readouterr().err
    assert f": HTTP {status}; attempt 2 of 7 in 1 s" in lines
    assert f": HTTP {status}; attempt 3 of 7 in 2 s" in lines


def test_a_failure_after_the_download_is_waited_for_too(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    hub.repository("org/name").commit({"train.txt": b"one", "valid.txt": text_file([LARGE_TEXT])})
    # The first two ask for the address and the content; huggingface_hub itself asks 7 times for the address again.
    hub.faults.append(Fault("/resolve/", skip=2, times=7, status=503))
    assert Repository.at("org/name", None).download("valid.txt").read_bytes() == text_file([LARGE_TEXT])
    assert "org/name/valid.txt: HTTP 503; attempt 2 of 7 in 1 s" in capfd.readouterr().err
    assert len(hub.downloads()) == 1


def test_too_many_requests_are_waited_for(hub: Hub, delays_s: list[float]) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT]), "valid.txt": b"held"})
    hub.faults.append(Fault("/api/datasets/org/name", times=3, status=429))
    assert documents("org/name")["train"] == [LARGE_TEXT]
    assert delays_s == [1, 2, 4]


def test_failures_that_stay_are_given_up(hub: Hub, delays_s: list[float]) -> None:
    hub.faults.append(Fault("/api/datasets/", times=100, status=503))
    message = rf"^org/name: {hub.endpoint} failed 7 times, the last time with: HTTP 503; check the network"
    with pytest.raises(ConnectionError, match=message):
        documents("org/name")
    assert delays_s == [1, 2, 4, 8, 16, 32]


def test_no_connection(hub: Hub, delays_s: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(ConnectionError, match=r"^org/name: http://127\.0\.0\.1:1 failed 7 times, .*refused.*; check"):
        documents("org/name")


def test_offline(hub: Hub, delays_s: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"^org/name: cannot be downloaded while HF_HUB_OFFLINE is set; unset it"):
        documents("org/name")
    assert hub.requests == []
    assert delays_s == []


def test_what_is_not_there_or_not_allowed(hub: Hub, delays_s: list[float]) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT])})
    with pytest.raises(ValueError, match=rf"^data\.dataset: must be a dataset on {hub.endpoint} .*, got 'org/none'$"):
        documents("org/none")
    with pytest.raises(ValueError, match=r"^data\.revision: must be a branch, tag or commit of org/name, got 'v9'$"):
        documents("org/name", revision="v9")
    with pytest.raises(ValueError, match=r"^org/name/none\.txt: no such file at commit "):
        Repository.at("org/name", None).download("none.txt")
    with pytest.raises(ValueError, match=r"^data\.dataset: must be a repository as 'org/name', got 'org/na me'$"):
        documents("org/na me")
    hub.repository("org/name").gated = True
    page = f"{hub.endpoint}/datasets/org/name"
    with pytest.raises(
        ValueError, match=rf"^data\.dataset: org/name is gated: accept its terms at {page}, then log in"
    ):
        documents("org/name")
    assert delays_s == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_asked_again(hub: Hub, delays_s: list[float], status: int) -> None:
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT])})
    hub.faults.append(Fault("/content/", times=100, status=status))
    with pytest.raises(ValueError, match=rf"^org/name/train\.txt: not allowed \(HTTP {status}\): log in with"):
        documents("org/name")
    assert len(hub.downloads()) == 1
    assert delays_s == []


def test_a_full_disk_is_reported_as_it_is(hub: Hub, monkeypatch: pytest.MonkeyPatch, delays_s: list[float]) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(repository, "http_get", fail)
    hub.repository("org/name").commit({"train.txt": text_file([LARGE_TEXT])})
    with pytest.raises(OSError, match="No space left on device") as error:
        documents("org/name")
    assert error.value.errno == errno.ENOSPC
    assert delays_s == []


def test_an_endpoint_that_is_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.faults.append(Fault("/api/datasets/", times=1, status=200))
    with pytest.raises(ConnectionError, match=rf"^org/name: {hub.endpoint} does not answer as a Hugging Face hub: "):
        documents("org/name")
