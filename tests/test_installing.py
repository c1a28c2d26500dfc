"""Tests of the ways to install that are not make's: the image of the Dockerfile, and what CITATION.cff says."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch

from ruamel.yaml import YAML

from tests.project import ROOT

README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def instructions() -> list[tuple[str, str]]:
    """Name and value of each instruction of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, value.strip()) for name, value in (line.split(maxsplit=1) for line in lines)]


def values(name: str) -> list[str]:
    return [value for found, value in instructions() if found == name]


def test_the_image_has_a_python_that_the_project_takes_and_git() -> None:
    (image,) = values("FROM")
    assert (found := re.fullmatch(r"python:3\.(\d+)-slim", image))
    assert int(found[1]) >= int(PROJECT["requires-python"].removeprefix(">=3."))
    assert any(re.search(r"apt-get install .*\bgit\b", command) for command in values("RUN"))


def test_all_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    (copied,) = values("COPY")
    *files, target = copied.split()
    assert target == "./"
    patterns = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    assert patterns[0] == "*"
    for file in files:
        assert (ROOT / file).is_file()
        assert any(fnmatch(file, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    # What the build of the package reads lies among them.
    assert {"pyproject.toml", "requirements.lock", PROJECT["readme"], "LICENSE"} == set(files)


def test_the_image_installs_as_make_does() -> None:
    (install,) = [command for command in values("RUN") if "pip install" in command]
    makefile = re.sub(r"\\\n\s*", "", (ROOT / "Makefile").read_text())
    (of_make,) = re.findall(r"python (-m pip install \S+),uv pip install\) (.*)", makefile)
    words = shlex.split(install.split("/bin/python", 1)[1])
    assert set(words) - {"--no-cache-dir"} == {*" ".join(of_make).split(), "."}
    (path,) = [value for value in values("ENV") if value.startswith("PATH=")]
    folder = path.removeprefix("PATH=").removesuffix(":$PATH")
    assert f"python -m venv {folder.removesuffix('/bin')} " in install


def test_the_image_runs_the_pipeline_as_another_user_than_root() -> None:
    names = [name for name, _ in instructions()]
    (user,) = values("USER")
    assert user not in ("root", "0")
    assert any(re.search(rf"useradd .*\b{user}$", command) for command in values("RUN"))
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    # The user of `docker run --user` has no home and no name; without a name DVC ends, because it asks for one.
    assert f"HOME=/tmp USER={user}" in values("ENV")
    (command,) = values("CMD")
    assert f"@{' '.join(json.loads(command))}\n" in (ROOT / "Makefile").read_text()
    folder = values("WORKDIR")[-1]
    runs = re.findall(r"^    docker run (.*)$", README, flags=re.MULTILINE)
    assert len(runs) == 2
    assert all(f'--user "$(id -u):$(id -g)" --volume "$PWD:{folder}" storyline' in run for run in runs)
    assert "    docker build --tag storyline .\n" in README


def test_the_citation_has_what_its_format_asks_for() -> None:
    """The keys and types of version 1.2.0 of the Citation File Format that are used."""
    citation = YAML(typ="safe", pure=True).load(ROOT / "CITATION.cff")
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}  # the required ones
    types = {"cff-version": str, "message": str, "title": str, "abstract": str, "version": str, "license": str}
    for key, value in citation.items():
        if key in types:
            assert isinstance(value, types[key])
            assert value
    assert citation.keys() <= {*types, "authors", "type", "keywords"}
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["authors"] == [{"name": "storyline contributors"}]  # an entity, whose only required key is its name
    assert all(isinstance(word, str) for word in citation["keywords"])
    assert {key: citation[key] for key in ("title", "version", "license")} == {
        "title": PROJECT["name"],
        "version": PROJECT["version"],
        "license": PROJECT["license"],
    }
    assert citation["abstract"] == f"{PROJECT['description']}."
