"""Tests of lm/corpus/dialogues/hub.py and story_requests.py: a hub on loopback, through the real `datasets` library."""

import csv
import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lm.corpus.dialogues.sources import list_dialogue_inputs, open_dialogues
from tests.corpus.conftest import delays_s as delays_s
from tests.corpus.conftest import hub as hub  # the fixture
from tests.corpus.dialogues.conftest import by_split, dialogues_config, row
from tests.corpus.hub_server import Hub
from tests.corpus.test_hub_dataset import ROOT, card

TRAIN = [[f"Question {i}?", f"Answer {i}."] for i in range(4)]
VALID = [["Who?", "Me."]]


def parquet(dialogues: list[list[str]], **more: Any) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([row(*texts) | more for texts in dialogues]), buffer)
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def test_everyday_conversations_has_splits_of_its_own_names(hub: Hub) -> None:
    readme = card(
        "configs:\n- config_name: default\n  data_files:\n"
        "  - {split: train_sft, path: data/train_sft-*}\n  - {split: test_sft, path: data/test_sft-*}\n"
    )
    files = {
        "README.md": readme,
        "data/train_sft-00000-of-00001.parquet": parquet(TRAIN, prompt="no", completion="no", topic="Small talk"),
        "data/test_sft-00000-of-00001.parquet": parquet(VALID, prompt="no", completion="no", topic="Small talk"),
    }
    name = "HuggingFaceTB/everyday-conversations-llama3.1-2k"
    first = hub.repository(name).commit(files)
    config = dialogues_config(source="hub")
    inputs = list_dialogue_inputs(config, ROOT)
    assert inputs == [{"repository": name, "commit": first}]
    hub.repository(name).commit(files | {"data/train_sft-00000-of-00001.parquet": parquet(VALID)})
    source = open_dialogues(config, 0, ROOT, inputs=inputs)
    assert by_split(source) == {"train": TRAIN, "valid": VALID}
    assert source.facts["commit"] == first
    assert source.facts["splits"] == {"train": "train_sft", "valid": "test_sft"}
    assert source.facts["configuration"] == "default"
    with pytest.raises(
        ValueError, match=r"^dialogues\.train_split: must be left as it is for 'everyday-conv.*'train\["
    ):
        open_dialogues(config.changed(train_split="train[5:]"), 0, ROOT)


def test_smoltalk_takes_all_or_a_configuration_and_reads_no_further_than_asked(hub: Hub) -> None:
    splits = "".join(
        f"- config_name: {name}\n  data_files:\n"
        f"  - {{split: train, path: data/{name}/train-*}}\n  - {{split: test, path: data/{name}/test-*}}\n"
        for name in ("all", "few")
    )
    files = {
        f"data/{name}/{split}.parquet": parquet(dialogues, source="x")
        for name, part in (("all", TRAIN), ("few", TRAIN[:2]))
        for split, dialogues in (("train-0", part), ("train-1", part), ("test-0", VALID))
    }
    hub.repository("HuggingFaceTB/smoltalk").commit({"README.md": card(f"configs:\n{splits}"), **files})
    config = dialogues_config(source="hub", dataset="smoltalk", max_dialogues=4)
    assert by_split(open_dialogues(config, 0, ROOT)) == {"train": TRAIN, "valid": VALID}
    assert not hub.asked_for("train-1.parquet")
    few = by_split(open_dialogues(config.changed(configuration="few"), 0, ROOT))
    assert few["train"] == TRAIN[:2] * 2


def lines(dialogues: list[list[str]]) -> bytes:
    shared = [[{"from": "human", "value": asked}, {"from": "gpt", "value": answer}] for asked, answer in dialogues]
    return "".join(f"{json.dumps({'conversations': messages})}\n" for messages in shared).encode()


def test_any_dataset_whose_rows_are_dialogues(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.jsonl": lines(TRAIN)})
    hub.repository("org/folders").commit({"same/train.jsonl": lines(VALID * 9)})
    config = dialogues_config(source="hub", dataset="org/name", train_split="train[1:4]", valid_split="train[:1]")
    assert by_split(open_dialogues(config, 0, ROOT)) == {"train": TRAIN[1:], "valid": TRAIN[:1]}
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["instruction", "response", "n"], ["What is 6 times 7?", "042", 5], ["NA", "007", 6]])
    hub.repository("org/table").commit(dict.fromkeys(("train.csv", "validation.csv"), table.getvalue().encode()))
    found = by_split(open_dialogues(dialogues_config(source="hub", dataset="org/table"), 0, ROOT))
    assert found["train"] == [["What is 6 times 7?", "042"], ["NA", "007"]]  # a text, whatever it looks like
    held = dialogues_config(source="hub", dataset="org/folders/same", valid_fraction=0.5)
    with pytest.raises(ValueError, match=r"^dialogues\.train: must give at least one dialogue"):
        by_split(open_dialogues(held, 0, ROOT))  # all are the same, so that all are held out
    hub.repository("org/plain").commit({"train.jsonl": b'{"text": "Hi!"}\n'})
    with pytest.raises(ValueError, match=r"^org/plain/train\.jsonl:1: must be a dialogue: .*, got the names text; "):
        by_split(open_dialogues(dialogues_config(source="hub", dataset="org/plain"), 0, ROOT))


def test_what_is_not_there_is_an_error_of_this_section(hub: Hub) -> None:
    hub.repository("org/name").commit({"train.jsonl": lines(TRAIN)})
    for changes, message in (
        ({"dataset": "chat"}, r"^dialogues\.dataset: must be one of everyday-.*, or a repository as 'org/name', got"),
        ({"dataset": "org/none"}, r"^dialogues\.dataset: must be a dataset on .*, got 'org/none'$"),
        ({"revision": "old"}, r"^dialogues\.revision: must be a branch, tag or commit of org/name, got 'old'$"),
        ({"configuration": "de"}, r"^dialogues\.(configuration|dataset): must be "),
        ({"valid_split": "test"}, r"^dialogues\.valid_split: must be one of train, the splits of .*, got 'test'$"),
    ):
        config = dialogues_config(**({"source": "hub", "dataset": "org/name"} | changes))
        with pytest.raises(ValueError, match=message):
            open_dialogues(config, 0, ROOT)


RECORDS = """Features: Dialogue
Words: quit, oak, gloomy
Summary: Ben goes home.
Story:\x20

Ben saw the gloomy oak.

"I quit," he said.
<|endoftext|>
Words: ride
Story:
Lily rides far.
Random sentence: Lily rides far.
Features: BadEnding, Twist, Rhyme
<|endoftext|>

Story: The end.
<|endoftext|>
"""


def test_records_of_tinystories_instruct_become_wishes_and_stories(hub: Hub) -> None:
    files = {f"TinyStories-Instruct-{split}.txt": RECORDS.encode() for split in ("train", "valid")}
    hub.repository("roneneldan/TinyStoriesInstruct").commit(files)
    config = dialogues_config(source="hub", dataset="tinystories-instruct")
    found = [dialogue for split, dialogue in open_dialogues(config, 0, ROOT).dialogues if split == "train"]
    assert [[message.content for message in dialogue.messages] for dialogue in found] == [
        [
            "Tell me a story with the words quit, oak and gloomy. It should have a dialogue. "
            "This is what happens in it: Ben goes home.",
            'Ben saw the gloomy oak.\n\n"I quit," he said.',
        ],
        [
            "Tell me a story with the word ride. It should have a bad ending, a twist and Rhyme. "
            "One of its sentences is: Lily rides far.",
            "Lily rides far.",
        ],
        ["Tell me a story.", "The end."],
    ]
    # A word that the story does not use as it was asked for is not checked.
    assert [[check.words for check in dialogue.checks] for dialogue in found] == [[("quit", "oak", "gloomy")], [], []]
    hub.repository("roneneldan/TinyStoriesInstruct").commit(dict.fromkeys(files, b"Words: ride\n"))
    with pytest.raises(ValueError, match=r"^roneneldan/.*-valid\.txt: record 0: must have a message of the assistant"):
        by_split(open_dialogues(config, 0, ROOT))
