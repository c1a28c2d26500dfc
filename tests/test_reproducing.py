"""What docs/manual/reproducing.md says, with its own commands, between clones, through a folder and an S3 server."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer
from ruamel.yaml import YAML

from tests.project import ROOT
from tests.workspace import Workspace

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "manual" / "reproducing.md").read_text()
ACCESS = {
    "AWS_ACCESS_KEY_ID": "name",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def block(title: str, number: int) -> str:
    """A block of code of the page: the one with that number in the section of that title."""
    (section,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    blocks: list[str] = re.findall(r"(?:^    .*\n)+", section, flags=re.MULTILINE)
    return blocks[number]


def do(
    workspace: Workspace, commands: str, replacements: Mapping[str, str | Path] | None = None, status: int = 0
) -> str:
    """The output of commands of the page, which stop at the first that fails; only `make` is left out."""
    for old, new in (replacements or {}).items():
        assert old in commands
        commands = commands.replace(old, str(new))
    return workspace.run("sh", "-ec", f"make() {{ :; }}\n{commands}", status=status)


@pytest.fixture(scope="module")
def finished(micro: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose pipeline has run; of an experiment `slow` it has the results in its cache."""
    workspace = micro.copy(tmp_path_factory.mktemp("finished"))
    workspace.only("train")  # the others are stored and compared in the same way, and start PyTorch each
    workspace.run("git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    workspace.environment |= ACCESS
    do(workspace, block("One experiment, by name", 0).splitlines()[0])
    back = do(workspace, block("One experiment, by name", 1).splitlines()[-1]).partition("back to the commit: ")[2]
    (workspace.path.parent / "slow.lock").write_bytes(workspace.read("dvc.lock"))
    do(workspace, back)
    assert workspace.run("git", "status", "--porcelain") == ""
    return workspace


@pytest.fixture
def first(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, with a git remote from which others clone."""
    workspace = finished.copy(tmp_path / "first")
    workspace.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "git"))
    workspace.run("git", "branch", "-M", "main")
    workspace.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    workspace.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    return workspace


@pytest.fixture
def slow(finished: Workspace) -> dict[str, str]:
    """The hashes of the outs of the experiment `slow`."""
    return hashes(finished.path.parent / "slow.lock")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server on this machine, which has a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client(
        "s3",
        endpoint_url=address,
        region_name=ACCESS["AWS_DEFAULT_REGION"],
        aws_access_key_id=ACCESS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ACCESS["AWS_SECRET_ACCESS_KEY"],
    ).create_bucket(Bucket="bucket")
    yield address
    server.stop()


def hashes(lock: Path) -> dict[str, str]:
    stages = YAML(typ="safe", pure=True).load(lock)["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def file_hashes(workspace: Workspace, names: dict[str, str]) -> dict[str, str]:
    """The MD5 of files as they are in the workspace, by name; of a folder that there is, the hash in dvc.lock."""
    folders = {name: md5 for name, md5 in names.items() if (workspace.path / name).is_dir()}
    lines = workspace.run("md5sum", *(names.keys() - folders.keys())).splitlines()
    return {name: md5 for md5, name in (line.split() for line in lines)} | folders


def set_hash(workspace: Workspace, path: str, md5: str) -> None:
    """Edit dvc.lock: another hash for an out."""
    lock = workspace.path / "dvc.lock"
    stages = YAML(typ="safe", pure=True).load(lock)
    (out,) = [out for stage in stages["stages"].values() for out in stage["outs"] if out["path"] == path]
    out["md5"] = md5
    YAML().dump(stages, lock)


def stages_run(output: str) -> list[str]:
    """The stages that DVC says it ran."""
    return re.findall(r"Running stage '(.*)'", output)


MOVE = "Have them without making them"
FOLDER, S3, PUSH, CLONE, PULL = range(5)  # its blocks


def use_folder(workspace: Workspace, folder: Path) -> None:
    """Name a folder as the remote, as the page does."""
    do(workspace, block(MOVE, FOLDER), {"/mnt/store": folder})


@pytest.mark.parametrize("remote", ["folder", "s3"])
def test_a_clone_has_results_and_earlier_runs_without_training(
    first: Workspace, slow: dict[str, str], tmp_path: Path, remote: str, request: pytest.FixtureRequest
) -> None:
    store, clone = tmp_path / "store", first.at(tmp_path / "storyline")

    def use_remote(workspace: Workspace) -> None:
        if remote == "folder":
            use_folder(workspace, store)
        else:
            do(workspace, block(MOVE, S3), {"http://127.0.0.1:9000": request.getfixturevalue("server")})

    use_remote(first)
    assert "files pushed" in do(first, block(MOVE, PUSH))
    stored = {file.parent.name + file.name for file in store.glob("storyline/files/md5/*/*")}
    assert slow["models/base/model.safetensors"] not in stored  # should it be one day, DVC needs no `experiments push`

    do(first.at(tmp_path), block(MOVE, CLONE), {"URL": tmp_path / "git"})
    use_remote(clone)
    assert stages_run(do(clone, block(MOVE, PULL))) == ["inputs"]
    assert clone.run("git", "status", "--porcelain") == ""
    assert file_hashes(clone, first.out_hashes()) == first.out_hashes()

    assert "new files pushed" in do(first, block("Earlier runs", 0))
    output = do(clone, block("Earlier runs", 1))
    assert stages_run(output) == ["inputs"]
    cached = re.findall(r"Stage '(.*)' is cached - skipping run", output)
    assert cached == ["train"]
    assert clone.out_hashes() == file_hashes(clone, slow) == slow != first.out_hashes()


def test_an_experiment_goes_to_another_clone_by_name(first: Workspace, slow: dict[str, str], tmp_path: Path) -> None:
    use_folder(first, tmp_path / "store")
    do(first, block(MOVE, PUSH))
    first.run("git", "commit", "--quiet", "--allow-empty", "--message", "after the experiment")
    first.run("git", "push", "--quiet")
    do(first, block("One experiment, by name", 0).splitlines()[1])

    do(first.at(tmp_path), block(MOVE, CLONE), {"URL": tmp_path / "git"})
    clone = first.at(tmp_path / "storyline")
    use_folder(clone, tmp_path / "store")
    do(clone, block(MOVE, PULL))
    assert "slow" in do(clone, block("One experiment, by name", 1)).split()
    assert clone.out_hashes() == file_hashes(clone, slow) == slow
    assert stages_run(clone.run("dvc", "repro")) == ["inputs"]
    assert "slow" in clone.run("dvc", "exp", "show", "--all-commits", "--csv")


def test_a_hash_that_no_longer_matches_is_reported_by_stage_and_file(first: Workspace, tmp_path: Path) -> None:
    title = "When a file is not what dvc.lock says"
    file = first.path / "models/base/model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"!")
    of_file = do(first, block(title, 0))
    first.run("dvc", "checkout", "--force")
    assert file.read_bytes() == content
    assert "train" not in do(first, block(title, 0))
    use_folder(first, tmp_path / "store")
    do(first, block(MOVE, PUSH))
    set_hash(first, "models/base/model.safetensors", "deadbeef" * 4)
    of_hash = do(first, block(title, 0))
    shown = block(title, 1).split()
    assert of_file.split("always changed")[1].split()[: len(shown)] == shown
    assert " ".join(of_hash.split()).endswith(" ".join(shown).replace("modified", "not in cache"))

    first.run("git", "commit", "--quiet", "--all", "--message", "a wrong hash")
    first.run("git", "push", "--quiet")
    do(first.at(tmp_path), block(MOVE, CLONE), {"URL": tmp_path / "git"})
    clone = first.at(tmp_path / "storyline")
    use_folder(clone, tmp_path / "store")
    assert "models/base/model.safetensors" in do(clone, "dvc pull", status=1)


VERIFY = "Make them again"


def verify(workspace: Workspace, *arguments: str, status: int = 0) -> str:
    """What `python -m experiments verify` says; it leaves nothing in the folder for temporary files."""
    temporary = workspace.path.parent / "temporary"
    temporary.mkdir(exist_ok=True)
    output = workspace.run("python", "-m", "experiments", "verify", *arguments, status=status, TMPDIR=str(temporary))
    assert not list(temporary.glob("storyline-verify-*"))
    return output


def test_the_pipeline_is_the_same_in_a_scratch_clone(first: Workspace, slow: dict[str, str]) -> None:
    output = verify(first, "slow")
    assert "cached - skipping" not in output
    assert "uncommitted" not in output
    assert output.endswith(f"{len(slow)} of {len(slow)} outs are identical\n")
    assert re.findall(r"^identical  \w+ +(.+)$", output, flags=re.MULTILINE) == list(slow)


def test_a_hash_that_is_not_reached_is_reported_by_stage_and_file(first: Workspace, tmp_path: Path) -> None:
    card = first.path / "data/tokens/valid.json"
    card.write_text(card.read_text().replace('"n_documents": 20', '"n_documents": 21'))
    (edited,) = file_hashes(first, {"data/tokens/valid.json": ""}).values()
    recorded = first.out_hashes()["data/tokens/valid.json"]
    set_hash(first, "data/tokens/valid.json", edited)
    first.run("dvc", "cache", "dir", str(tmp_path / "shared"))
    first.commit()
    first.set("train", steps=1)

    scratch = tmp_path / "scratch"
    output = do(first, block(VERIFY, 1), {"/tmp/scratch": scratch}, status=1)
    assert output.startswith("uncommitted changes are not part of this")
    assert re.findall(r"^DIFFERS +(\w+) +(.+)$", output, flags=re.MULTILINE) == [("encode", "data/tokens/valid.json")]
    pattern = re.escape(" ".join(block(VERIFY, 2).split()))
    pattern = re.sub(r"\w+…", "{}", pattern).format(edited, recorded).replace("line\\ 3", "line\\ \\d")
    pattern = pattern.replace("15\\ of\\ 16", "(\\d+)\\ of\\ (\\d+)")
    counted = re.search(f"{pattern}$", " ".join(output.split()))
    assert counted
    assert 0 < int(counted[1]) == int(counted[2]) - 1
    assert hashes(scratch / "dvc.lock")["data/tokens/valid.json"] == recorded
    assert not list((tmp_path / "shared").rglob("*"))
    assert not (scratch / "models").exists() or not list((scratch / "models").rglob("*.safetensors"))
    again = do(first, block(VERIFY, 1), {"/tmp/scratch": scratch}, status=2)
    assert f"error: --keep: must be a new or an empty folder, got {scratch}\n" in again


def test_what_cannot_be_verified_gets_one_line(first: Workspace) -> None:
    errors = {
        ("nowhere",): "nowhere: must be a commit, a branch or a DVC experiment",
        ("HEAD", "--stage", "trian"): "--stage: must be one of code, inputs, download, ",
        ("HEAD~1",): "HEAD~1: must hold a dvc.lock",
    }
    for arguments, error in errors.items():
        output = verify(first, *arguments, status=2)
        assert output.startswith(f"error: {error}")
        assert output.count("\n") == 1


def test_a_failure_in_the_scratch_clone_is_seen(first: Workspace) -> None:
    (first.path / "mine").mkdir()
    (first.path / "mine" / "book.txt").write_text("Once.\n")
    (first.path / ".gitignore").write_text("/mine/\n")
    first.set("data", source="files", train=["mine/*.txt"])
    first.commit()
    output = verify(first, status=1)
    assert "must match at least one file" in output
    assert output.splitlines()[-1] == "error: dvc repro: must succeed in the scratch clone, got status 255"


def test_ctrl_c_removes_the_scratch_clone(first: Workspace) -> None:
    temporary = first.path.parent / "temporary"
    temporary.mkdir()
    process = first.start("python", "-m", "experiments", "verify", TMPDIR=str(temporary))
    deadline = time.monotonic() + 600
    while not list(temporary.glob("*/storyline/data/raw/card.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130
    assert output.splitlines()[-1] == "stopped"
    assert not list(temporary.glob("storyline-verify-*"))


def test_make_verify_is_the_command(tmp_path: Path) -> None:
    for line in block(VERIFY, 0).splitlines():
        command = [*line.split(), "--dry-run"]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        # tests/test_makefile.py tries what REV becomes.
        expected = ["python", "-m", "experiments", "verify", "--", '${GIVEN_REV:+"$GIVEN_REV"}']
        # Among other lines where make runs within make, as in `make test`.
        assert expected in [each.split() for each in output.splitlines()]
