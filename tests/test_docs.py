"""What README, CONTRIBUTING and docs/ name exists: files, headings, code, modules, make targets and parameters."""

import ast
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from lm.system.files import read_json
from tests.project import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = ("benchmarks", "commands", "experiments", "lm", "stages", "tests")
PARAMETERS = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def lines_of(page: Path) -> Iterator[tuple[int, str, bool]]:
    """Number and text of each line, and whether it is prose: no code, formula or table."""
    fenced = before_blank = False
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
            yield number, line, False
        else:
            # Indented lines are code where they follow a blank line or more code; in a list they go on with its item.
            indented = line.startswith("    ") and before_blank
            yield number, line, not (fenced or indented or line.startswith("|"))
            before_blank = not line.strip() or indented
    assert not fenced, f"{page}: a block of code must end"


def text_of(page: Path) -> str:
    """The page without its blocks of code."""
    return "\n".join(line for _, line, prose in lines_of(page) if prose or line.startswith("|"))


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of each link within the repository."""
    found = re.findall(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)", text_of(page))
    return [(text, target) for text, target in found if "://" not in target]


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page."""
    seen: Counter[str] = Counter()
    result = set()
    for _, line, prose in lines_of(page):
        if prose and (heading := re.fullmatch(r"#+ (.*)", line)):
            slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
            result.add(slug if seen[slug] == 0 else f"{slug}-{seen[slug]}")
            seen[slug] += 1
    return frozenset(result)


@cache
def definitions(path: Path) -> frozenset[str]:
    """The names that a module defines, those within classes as `Class.name`."""
    result: set[str] = set()

    def collect(nodes: list[ast.stmt], prefix: str) -> None:
        for node in nodes:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                result.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                collect(node.body, f"{prefix}{node.name}.")
            for target in [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", []):
                if isinstance(target, ast.Name):
                    result.add(prefix + target.id)

    collect(ast.parse(path.read_text()).body, "")
    return frozenset(result)


@each_page
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for _, target in links(page):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page}: {target}: no such file"
        assert file.is_relative_to(ROOT), f"{page}: {target}: must lie in the repository"
        if anchor:
            assert anchor in anchors(file), f"{page}: {target}: no such heading"


@each_page
def test_code_that_is_linked_by_name_is_defined_there(page: Path) -> None:
    for text, target in links(page):
        name = re.fullmatch(r"`([A-Za-z_][\w.]*)`", text)
        if name and target.endswith(".py") and not name[1].endswith(".py"):
            defined = definitions((page.parent / target).resolve())
            assert name[1] in defined, f"{page}: {target} must define {name[1]}"


@each_page
def test_files_of_code_that_are_named_exist(page: Path) -> None:
    for name in re.findall(rf"(?<![\w/.-])(?:{'|'.join(CODE)})/[\w./]*\w", page.read_text()):
        if not Path(name).stem.isupper():  # NAME.py stands for a file that the reader makes
            assert (ROOT / name).exists(), f"{page}: {name}: no such file"


@each_page
def test_modules_and_targets_of_commands_exist(page: Path) -> None:
    text = page.read_text()
    for module in re.findall(r"python -m ([\w.]+)", text):
        if module.split(".")[0] in CODE and not module.endswith("NAME"):
            assert importlib.util.find_spec(module), f"{page}: {module}: no such module"
    targets = set(re.findall(r"^([a-z-]+)(?: [a-z -]+)?:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    targets |= {"sample", "evaluate"}  # of the rule that `train` begins
    for line in re.findall(r"(?:^    |`)make ([a-z-]+)", text, flags=re.MULTILINE):
        assert line in targets, f"{page}: make {line}: no such target"


@each_page
def test_parameters_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    sections = "|".join(PARAMETERS)
    named = re.findall(rf"-S '?((?:{sections})\.\w+)=", text)
    named += re.findall(rf"`((?:{sections})\.[a-z_]+)(?:[:=] ?[^`]*)?`", text)
    for name in named:
        section, parameter = name.split(".")
        if parameter not in ("json", "bin", "csv", "txt", "safetensors", "md", "png"):
            assert parameter in PARAMETERS[section], f"{page}: {name}: no such parameter"


@each_page
def test_lines_of_prose_are_at_most_120_characters(page: Path) -> None:
    for number, line, prose in lines_of(page):
        assert not prose or len(line) <= 120, f"{page}:{number}: must be at most 120 characters, got {len(line)}"


def test_pages_that_code_names_exist() -> None:
    sources = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    named = {
        (source, name)
        for source in [*sources, ROOT / "dvc.yaml", ROOT / "params.yaml", ROOT / "experiments.yaml", ROOT / "Makefile"]
        for name in re.findall(r"(?<![\w/.])docs/[\w./-]*\w", source.read_text())
    }
    assert named
    for source, name in named:
        assert (ROOT / name).exists(), f"{source}: {name}: no such page"


def test_the_index_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {(index.parent / target.partition("#")[0]).resolve() for _, target in links(index)}
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {index} <= reached


@pytest.mark.parametrize("page", ["README.md", "docs/results/built-in-stories.md"])
def test_the_figures_of_the_pipeline_are_those_of_its_metrics(page: str) -> None:
    text = (ROOT / page).read_text()
    metrics = read_json(ROOT / "metrics" / "evaluate.json")
    rows = {
        "entropy floor, bits per byte": ("floor_bits_per_byte", 4),
        "the model, bits per byte": ("bits_per_byte", 4),
        "excess": ("excess_bits_per_byte", 4),
        "token accuracy": ("accuracy", 3),
    }
    for row, (name, digits) in rows.items():
        error = metrics.get(f"{name}_standard_error")
        shown = "" if error is None else f"{error:.{digits}f}"
        line = f"| {row} | {metrics[name]:.{digits}f} | {shown}".rstrip()
        assert line in text, f"{page}: must have {line!r}, as metrics/evaluate.json says"
    train = read_json(ROOT / "metrics" / "train.json")
    for name in ("n_parameters", "tokens"):
        assert f"{train[name]:,}" in text, f"{page}: must have {name} of metrics/train.json, {train[name]:,}"
