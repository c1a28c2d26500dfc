"""What the tests of the report share: a repository, and a function that writes a page in it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from experiments.compare.comparison import Comparison
from experiments.report import page
from experiments.report.plot_page import vega_bundle
from tests.experiments.report.comparisons import PROMPTS
from tests.experiments.results_by_hand import PARAMS


@pytest.fixture(scope="session")
def bundle() -> str:
    """The JavaScript of Vega, built once, because that takes seconds."""
    return vega_bundle()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository, which is also the working directory. Its HEAD stands for the commit of an experiment."""
    path = tmp_path_factory.mktemp("repository")
    git = ["git", "-C", str(path), "-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    YAML().dump(PARAMS | {"sample": PARAMS["sample"] | {"prompts": PROMPTS}}, path / "params.yaml")
    subprocess.run([*git, "add", "params.yaml"], check=True)
    for message in ("baseline", "experiment"):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", message], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        yield path


@pytest.fixture
def written(
    repository: Path, bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Comparison], str]:
    """A function that writes the page of a comparison to `tmp_path / "report.html"`, and returns it."""

    monkeypatch.setattr(page, "vega_bundle", lambda: bundle)

    def write(comparison: Comparison) -> str:
        page.write_report(comparison, tmp_path / "report.html")
        return (tmp_path / "report.html").read_text(encoding="utf-8")

    return write
