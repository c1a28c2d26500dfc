"""Tests of lm/corpus/hub_dataset.py: any dataset of a hub on loopback, through the real `datasets` library."""

import csv
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from lm.corpus.hub import KNOWN, open_hub
from lm.corpus.repository import Repository
from lm.corpus.sources import list_inputs, open_corpus
from tests.corpus.conftest import LARGE_TEXT, data_config, documents, jsonl, parquet, text_file, texts_of
from tests.corpus.hub_server import Fault, Hub

ROOT = Path(__file__).parents[2]

# Texts that a reader may take for something else: numbers, dates, nothing.
ODD = ['one\ntwo, "three"', "007", "NA", "null", "2020-01-01", "1e5", "True", "naïve 😀", LARGE_TEXT]


def array(texts: Sequence[str | None]) -> bytes:
    return json.dumps([{"id": i, "text": text} for i, text in enumerate(texts)], indent=1).encode()


def table(texts: Sequence[str | None], delimiter: str = ",", column: str = "text") -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\n")
    writer.writerows([["id", column], *([i, text] for i, text in enumerate(texts))])
    return buffer.getvalue().encode()


def arrow(texts: Sequence[str | None], stream: bool = True) -> bytes:
    rows = pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())})
    sink = pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=2)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def zstd(data: bytes) -> bytes:
    packed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return packed


def zipped(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inside.csv", data)
    return buffer.getvalue()


def card(text: str) -> bytes:
    """The card of a repository, with the YAML that says what it holds."""
    return f"---\n{text}---\n# A dataset\n".encode()


FORMATS: dict[str, Callable[[Sequence[str | None]], bytes]] = {
    "json": array,
    "json.gz": lambda texts: gzip.compress(array(texts)),
    "jsonl": jsonl,
    "jsonl.gz": lambda texts: gzip.compress(jsonl(texts)),
    "jsonl.zst": lambda texts: zstd(jsonl(texts)) + zstd(jsonl(texts[:1])),  # a second frame, which goes on
    "ndjson": jsonl,
    "csv": table,
    "csv.gz": lambda texts: gzip.compress(table(texts)),
    "csv.zst": lambda texts: zstd(table(texts)),
    "zip": lambda texts: zipped(table(texts)),
    "tsv": lambda texts: table(texts, "\t"),
    "arrow": arrow,
    "parquet": parquet,
    "txt.zst": lambda texts: zstd(text_file(texts)),
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_of_the_hub_gives_its_texts_unchanged(hub: Hub, suffix: str) -> None:
    write = FORMATS[suffix]
    hub.repository("org/name").commit({f"train.{suffix}": write(ODD), f"validation.{suffix}": write(["held"])})
    got = documents("org/name")
    twice = suffix == "jsonl.zst"
    assert got == {"train": [*ODD, *ODD[:1]] if twice else ODD, "valid": ["held", "held"] if twice else ["held"]}


def test_arrow_files_with_a_footer(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.arrow": arrow(ODD, stream=False), "test.arrow": arrow(["no"])})
    assert documents("org/name", valid_split="test") == {"train": ODD, "valid": ["no"]}


CONFIGURATIONS = card(
    "configs:\n"
    "- config_name: de\n"
    "  data_files:\n"
    "  - {split: train, path: 'german/*.csv'}\n"
    "  - {split: held, path: held.csv}\n"
    "- config_name: tabs\n"
    "  data_files: tabs.csv\n"
    '  sep: "\\t"\n'
)


def commit_configurations(hub: Hub, readme: bytes = CONFIGURATIONS) -> str:
    files = {
        "README.md": readme,
        "german/2.csv": table(["c"]),
        "german/1.csv": table(["a", "b"]),
        "held.csv": table(["v"]),
        "tabs.csv": table(["t", "u, x"], "\t"),
    }
    return hub.repository("org/name").commit(files)


def test_a_configuration_and_its_splits_are_those_of_the_card(hub: Hub) -> None:
    commit = commit_configurations(hub)
    corpus = open_hub(data_config(dataset="org/name", configuration="de", valid_split="held"))
    assert corpus.facts == {
        "repository": "org/name",
        "commit": commit,
        "configuration": "de",
        "splits": {"train": "train", "valid": "held"},
        "files": {"train": ["german/1.csv", "german/2.csv"], "valid": ["held.csv"]},
    }
    assert texts_of(corpus) == {"train": ["a", "b", "c"], "valid": ["v"]}
    # What the card says about reading is heeded; rows of a split are taken as asked.
    got = documents("org/name", configuration="tabs", train_split="train[1:]", valid_split="train[:1]")
    assert got == {"train": ["u, x"], "valid": ["t"]}


def test_the_default_configuration(hub: Hub) -> None:
    commit_configurations(hub, CONFIGURATIONS.replace(b"name: de\n", b"name: de\n  default: true\n"))
    assert documents("org/name", valid_split="held")["train"] == ["a", "b", "c"]


def test_what_a_dataset_does_not_have_is_answered_with_what_it_has(hub: Hub) -> None:
    commit = commit_configurations(hub)[:7]
    of = rf"the configurations of org/name at {commit}"
    with pytest.raises(ValueError, match=rf"^data\.configuration: must be one of de, tabs, {of}, got None$"):
        documents("org/name")
    with pytest.raises(ValueError, match=rf"^data\.configuration: must be one of de, tabs, {of}, got 'fr'$"):
        documents("org/name", configuration="fr")
    of = "the splits of configuration 'de' of org/name"
    with pytest.raises(ValueError, match=rf"^data\.train_split: must be one of train, held, {of}, got 'all'$"):
        documents("org/name", configuration="de", train_split="all")
    with pytest.raises(ValueError, match=rf"^data\.valid_split: must be one of train, held, {of}, got 'test'$"):
        documents("org/name", configuration="de", valid_split="test[:5]")
    message = r"^org/name/held\.csv: must have the column 'body' that data\.text_column names, .* columns id, text$"
    with pytest.raises(ValueError, match=message):
        documents("org/name", configuration="de", valid_split="held", text_column="body")


def test_a_column_that_holds_no_strings(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.arrow": arrow(["a"])})
    with pytest.raises(ValueError, match=r"^org/name/train\.arrow: column 'id' must hold strings, got int64$"):
        documents("org/name", text_column="id")


@pytest.mark.parametrize("suffix", ["json", "jsonl.gz", "csv", "arrow", "parquet"])
def test_null_rows_fail_with_their_place_or_are_counted(hub: Hub, suffix: str) -> None:
    write = FORMATS[suffix]
    hub.repository("org/name").commit({f"train.{suffix}": write(["a", None, "b", None]), f"val.{suffix}": write(["v"])})
    place = ":2" if suffix == "jsonl.gz" else ": row 1"
    with pytest.raises(
        ValueError, match=rf"^org/name/train\.{suffix}{place}: 'text' must be .* None; data\.null_rows="
    ):
        documents("org/name")
    corpus = open_hub(data_config(dataset="org/name", null_rows="skip"))
    assert texts_of(corpus) == {"train": ["a", "b"], "valid": ["v"]}
    assert corpus.facts["n_null_rows"] == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", b'text\n"a\n'),
        ("train.csv.gz", gzip.compress(table(["a"] * 1000))[:-20]),
        ("train.csv.zst", zstd(table(["a"] * 1000))[:-20]),
        ("train.arrow", arrow(["a" * 500] * 4)[:-300]),
        ("train.arrow", b"no arrow"),
        ("train.csv", b""),
        ("train.csv", b"text\n\xff\n"),
    ],
)
def test_a_damaged_file_is_one_line(hub: Hub, name: str, content: bytes) -> None:
    hub.repository("org/name").commit({name: content})
    with pytest.raises(ValueError, match=r"^org/name/train.*: must be a whole (csv|arrow) file, got: \S") as error:
        documents("org/name")
    assert "\n" not in str(error.value)


def test_a_dataset_without_files_or_with_a_script(hub: Hub) -> None:
    hub.repository("org/name").commit({f"{i:02}.bin": b"" for i in range(22)})
    message = (
        r"^data\.dataset: must hold files that can be read, got 'org/name', where .* 00\.bin, .*19\.bin and 2 more$"
    )
    with pytest.raises(ValueError, match=message):
        documents("org/name")
    hub.repository("org/script").commit({"script.py": b"", "train.csv": table(["a"])})
    with pytest.raises(ValueError, match=r"^data\.dataset: must hold files, not a script .*refs/convert/parquet"):
        documents("org/script")
    hub.repository("org/script").commit({"default/train/0.parquet": parquet(["a", "b", "c"])}, "refs/convert/parquet")
    assert documents(
        "org/script", revision="refs/convert/parquet", valid_split="train[2:]", train_split="train[:2]"
    ) == {
        "train": ["a", "b"],
        "valid": ["c"],
    }


def test_one_folder_of_several(hub: Hub) -> None:
    languages = {
        f"{name}/{split}/0.jsonl": jsonl([f"{name} {split}"]) for name in ("de", "fr") for split in ("train", "dev")
    }
    hub.repository("org/name").commit(languages)
    assert documents("org/name/de") == {"train": ["de train"], "valid": ["de dev"]}


def test_files_of_several_splits_and_formats(hub: Hub) -> None:
    files = {
        "data/train-00001-of-00002.parquet": parquet(["c"]),
        "data/train-00000-of-00002.parquet": parquet(["a", "b"]),
        "data/validation-00000-of-00001.parquet": parquet(["v"]),
        "data/test-00000-of-00001.parquet": parquet(["t"]),
        "notes.txt": b"no document",
    }
    hub.repository("org/name").commit(files)
    assert documents("org/name") == {"train": ["a", "b", "c"], "valid": ["v"]}
    assert documents("org/name", train_split="test") == {"train": ["t"], "valid": ["v"]}
    # The only split that is called validation is trained on: then a part of it is held out.
    hub.repository("org/name").commit({"validation.csv": table([str(i) for i in range(40)])})
    got = documents("org/name", train_split="validation", valid_fraction=0.3)
    assert sorted(map(int, got["train"] + got["valid"])) == list(range(40))
    assert got["valid"]


def test_only_the_files_that_are_needed_are_downloaded(hub: Hub) -> None:
    files = {f"train-{i}.csv": table([f"{i}a", f"{i}b"]) for i in range(3)}
    hub.repository("org/name").commit(files | {"valid.csv": table(["held"])})
    assert documents("org/name", max_documents=4)["train"] == ["0a", "0b", "1a", "1b"]
    assert hub.asked_for("train-1.csv")
    assert not hub.asked_for("train-2.csv")


def test_cleaned_tinystories_takes_the_rows_that_its_card_proposes(hub: Hub) -> None:
    rows = [f"story {i}" for i in range(20_003)]
    hub.repository("karpathy/tinystories-gpt4-clean").commit({"tinystories_gpt4_clean.parquet": parquet(rows)})
    assert documents("tinystories-clean") == {"train": rows[20_000:], "valid": rows[10_000:20_000]}


def test_short_names_fix_their_splits() -> None:
    message = r"^data\.dataset: must be one of tinystories, .*tinystories-clean.*, owt, or .* got 'tinystory'$"
    with pytest.raises(ValueError, match=message):
        documents("tinystory")
    assert list(KNOWN) == ["tinystories", "tinystories-v1", "tinystories-clean", "owt-sample", "owt"]


def test_a_short_name_takes_no_other_configuration(hub: Hub) -> None:
    hub.repository("roneneldan/TinyStories").commit({})
    for changes in ({"configuration": "x"}, {"train_split": "test"}, {"valid_split": "held"}):
        (parameter,) = changes
        message = rf"^data\.{parameter}: must be left .* use roneneldan/TinyStories as the dataset, got '"
        with pytest.raises(ValueError, match=message):
            documents("tinystories", **changes)
    with pytest.raises(
        ValueError, match=r"^data\.dataset: must hold TinyStoriesV2-GPT4-train\.txt, got 'tinystories', "
    ):
        documents("tinystories")


def test_a_hub_that_fails_while_files_are_looked_up_is_asked_again(hub: Hub, delays_s: list[float]) -> None:
    hub.repository("org/name").commit({"train.csv": table(["a", "b"]), "valid.csv": table(["v"])})
    hub.faults.append(Fault("/tree/", times=1, status=429))
    assert documents("org/name")["train"] == ["a", "b"]
    assert delays_s[0] == 1


def test_a_library_that_finds_an_older_copy_does_not_take_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the hub fails, the library silently takes what it finds on this machine, whatever its revision."""
    hub.repository("org/name").commit({"train.csv": table(["old"])})
    monkeypatch.setenv("USE_TORCH", "0")  # a faster import
    program = "import datasets; datasets.load_dataset('org/name')"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
    hub.repository("org/name").commit({"train.csv": table(["new", "newer"]), "valid.csv": table(["v"])})
    hub.faults.append(Fault("/tree/", times=100, status=500))
    with pytest.raises(ConnectionError, match=r"^org/name: .* failed 7 times"):
        documents("org/name")


def test_the_commit_is_that_of_the_inputs_even_if_the_branch_has_moved(hub: Hub, tmp_path: Path) -> None:
    old = hub.repository("org/name").commit({"train.csv": table(["old"]), "valid.csv": table(["v"])})
    config = data_config(source="hub", dataset="org/name")
    inputs = list_inputs(config, tmp_path)
    assert inputs == [{"repository": "org/name", "commit": old}]
    new = hub.repository("org/name").commit({"train.csv": table(["new"]), "valid.csv": table(["v"])})
    corpus = open_corpus(config, 1, tmp_path, inputs=inputs)
    assert corpus.facts["commit"] == old
    assert texts_of(corpus)["train"] == ["old"]
    assert list_inputs(config, tmp_path) == [{"repository": "org/name", "commit": new}]


def test_a_commit_is_remembered_for_when_the_hub_cannot_be_reached(
    hub: Hub, delays_s: list[float], capfd: pytest.CaptureFixture[str]
) -> None:
    commit = hub.repository("org/name").commit({"train.csv": b""})
    hub.repository("org/name").commit({"train.csv": b"v2"}, branch="refs/pr/2")
    hub.faults.append(Fault("/api/", times=7, status=503))
    with pytest.raises(ConnectionError, match="failed 7 times"):
        Repository.commit_of("org/name", None)
    assert Repository.commit_of("org/name", None) == commit
    delays_s.clear()
    hub.faults.append(Fault("/api/", times=100, status=503))
    assert Repository.commit_of("org/name", None) == commit
    assert delays_s == [1, 2]
    assert f"; until then this takes org/name at {commit}, as it was the last time" in capfd.readouterr().err
    with pytest.raises(ConnectionError, match="failed 7 times"):
        Repository.commit_of("org/name", "refs/pr/2")
    hub.requests.clear()
    assert Repository.commit_of("org/name", "a" * 40) == "a" * 40
    assert not hub.requests


def test_the_library_is_imported_only_where_it_is_needed() -> None:
    program = "import sys, lm.corpus.hub; print([m for m in ('pyarrow', 'datasets', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
