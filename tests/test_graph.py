"""dvc.yaml against the code: what DVC believes of a stage is what the stage does."""

import ast
import shlex
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from lm.config.sections import SECTIONS
from lm.system.files import sha256
from stages.code import code_of, listed_stages
from stages.import_closure import OURS, closure, imports
from tests.project import ROOT, load_pipeline

PIPELINE = load_pipeline()
STAGES = sorted(PIPELINE["stages"])
HELPERS = {
    "__init__.py",
    "experiment.py",
    "import_closure.py",
    "pipeline.py",
    "run_folders.py",
    "snapshot.py",
    "support.py",
    "watch.py",
}

# A package may import those on lines above its own.
LAYERS = [
    ["lm.system", "lm.distributed"],
    ["lm.config"],
    ["lm.corpus", "lm.formats"],
    ["lm.tokenizer", "lm.optim"],
    ["lm.model", "lm.reference"],
    ["lm.training", "lm.generation"],
    ["lm.analysis", "lm.exchange"],
    ["stages", "commands"],
]


def paths_of(entries: list[Any]) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def flags_of(stage: str) -> dict[str, str]:
    words = shlex.split(PIPELINE["stages"][stage]["cmd"])
    assert words[:4] == ["exec", "python", "-m", f"stages.{stage}"]
    return dict(zip(words[4::2], words[5::2], strict=True))


def deps_of(stage: str) -> list[str]:
    return paths_of(PIPELINE["stages"][stage].get("deps", []))


def outs_of(stage: str) -> list[str]:
    entry = PIPELINE["stages"][stage]
    return paths_of(entry.get("outs", [])) + paths_of(entry.get("metrics", []))


def sections_of(stage: str) -> set[str]:
    """The sections of which a stage reads all, or some parameters."""
    return {name.split(".")[0] for name in PIPELINE["stages"][stage].get("params", [])}


def test_every_stage_module_is_a_stage_of_the_pipeline() -> None:
    modules = {path.stem for path in (ROOT / "stages").glob("*.py") if path.name not in HELPERS}
    assert modules == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_shows_command_parameters_and_outs_before_its_dependencies(stage: str) -> None:
    order = ["desc", "cmd", "always_changed", "params", "outs", "metrics", "deps"]
    entry = PIPELINE["stages"][stage]
    assert list(entry) == [key for key in order if key in entry]


@pytest.mark.parametrize("stage", STAGES)
def test_paths_of_the_command_are_the_data_dependencies_and_outs(stage: str) -> None:
    flags = flags_of(stage)
    assert flags.pop("--params") == "params.yaml"
    assert sorted(flags.values()) == sorted([dep for dep in deps_of(stage) if dep not in OURS] + outs_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_and_outs_of_the_code_are_those_of_the_pipeline(stage: str) -> None:
    run = next(
        node
        for node in ast.walk(ast.parse((ROOT / "stages" / f"{stage}.py").read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run"
    )
    declared = {keyword.arg: ast.literal_eval(keyword.value) for keyword in run.keywords}
    flags = flags_of(stage)
    inputs = {flags["--" + name.replace("_", "-")] for name in declared["inputs"]}
    outs = {flags["--" + name.replace("_", "-")] for name in declared["outs"]}
    assert inputs == set(deps_of(stage)) - {flags.get("--code"), *OURS}
    assert outs == set(outs_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_are_those_the_code_reads(stage: str) -> None:
    read = set()
    for node in ast.walk(ast.parse((ROOT / "stages" / f"{stage}.py").read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "seed":
                read.add("seed")
            if node.func.attr == "section":
                assert isinstance(node.args[0], ast.Name)
                read.add(node.args[0].id.removesuffix("Config").lower())
    assert read == sections_of(stage)


def test_every_section_of_the_parameters_is_read_by_a_stage() -> None:
    used = {name for stage in STAGES for name in sections_of(stage)}
    assert used == set(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))


def test_every_section_class_is_a_section_of_the_parameters() -> None:
    assert {"seed", *SECTIONS} == set(YAML(typ="safe", pure=True).load(ROOT / "params.yaml"))


def test_plots_of_the_page_are_outs() -> None:
    outs = {out for stage in STAGES for out in outs_of(stage)}
    for plot in PIPELINE["plots"]:
        if isinstance(plot, str):
            assert plot in outs
        else:
            (definition,) = plot.values()
            assert set(definition["y"]) <= outs


FOLDERS = sorted(path.name for path in (ROOT / "lm").iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("package", ["lm", *(f"lm/{name}" for name in FOLDERS)])
def test_packages_do_not_gather_their_modules(package: str) -> None:
    assert not imports(ROOT / package / "__init__.py")


@pytest.mark.parametrize("package", ["stages", "commands", "experiments"])
def test_packages_that_are_run_only_check_that_they_can_be(package: str) -> None:
    _, *statements = ast.parse((ROOT / package / "__init__.py").read_text()).body  # after the docstring
    snapshot = ["import stages.snapshot"] if package == "stages" else []
    assert [ast.unparse(statement) for statement in statements] == [
        *snapshot,
        "from lm.system.installation import check_installation",
        "check_installation()",
    ]


def test_stages_do_not_import_each_other() -> None:
    for stage in STAGES:
        own = ROOT / "stages" / f"{stage}.py"
        others = {path.name for path in closure(own) if path.parent.name == "stages" and path != own}
        assert others <= HELPERS


def test_nothing_in_the_pipeline_knows_of_dvc_or_of_experiments() -> None:
    for source in [*(ROOT / "lm").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not [name for name in names if name.split(".")[0] in ("dvc", "experiments", "commands")], source


def test_commands_import_neither_stages_nor_experiments() -> None:
    for source in (ROOT / "commands").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not [name for name in names if name.split(".")[0] in ("stages", "experiments")], source


def layer_of(path: Path) -> tuple[int, str]:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found = [
        (level, package)
        for level, packages in enumerate(LAYERS)
        for package in packages
        if module == package or module.startswith(package + ".")
    ]
    assert len(found) == 1, f"{module}: give it a place in LAYERS"
    return found[0]


@pytest.mark.parametrize("path", sorted((ROOT / "lm").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    if path == ROOT / "lm" / "__init__.py":
        return
    level, package = layer_of(path)
    for imported in imports(path):
        if imported != ROOT / "lm" / "__init__.py":
            other_level, other_package = layer_of(imported)
            assert other_package == package or other_level < level, f"{path} must not import {imported}"


@pytest.mark.parametrize("path", sorted((ROOT / "lm" / "reference").glob("*.py")), ids=lambda path: path.name)
def test_nothing_that_the_reference_uses_imports_torch(path: Path) -> None:
    for source in closure(path):
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not [name for name in names if "torch" in name.split(".")], f"{source} imports torch"


def test_the_closure_sees_imports_inside_functions() -> None:
    names = {str(path.relative_to(ROOT)) for path in closure(ROOT / "stages" / "download.py")}
    assert "lm/corpus/hub.py" in names
    assert "lm/model/transformer.py" not in names


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_depends_on_the_list_of_its_code_and_the_first_on_all_code(stage: str) -> None:
    deps, flags = deps_of(stage), flags_of(stage)
    if stage == "code":
        assert deps == list(OURS)
        assert flags["--lists"] == "data/code"
    else:
        assert flags["--code"] == f"data/code/{stage}.json" in deps


def test_every_stage_but_the_first_has_a_list() -> None:
    assert {*listed_stages(), "code"} == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_its_file_and_what_that_imports(stage: str) -> None:
    code, paths = code_of(stage), closure(ROOT / "stages" / f"{stage}.py")
    assert {ROOT / name for name in code} == {path for path in paths if path.read_bytes()}
    assert list(code) == sorted(code)
    assert code == {name: sha256(ROOT / name) for name in code}
