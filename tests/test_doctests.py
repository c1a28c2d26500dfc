"""The examples in the docstrings of lm/ and in docs/ are run."""

import doctest
import importlib
import pkgutil

import pytest

import lm
from tests.project import ROOT

MODULES = sorted(module.name for module in pkgutil.walk_packages(lm.__path__, "lm."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_the_examples_of_the_documents_give_what_they_say() -> None:
    results = [doctest.testfile(str(path), module_relative=False) for path in sorted((ROOT / "docs").rglob("*.md"))]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 0


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder()
    n_examples = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert n_examples >= 2
