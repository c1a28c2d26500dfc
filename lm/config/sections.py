"""Which sections params.yaml has."""

import importlib
import inspect
import pkgutil

import lm.config
from lm.config.base import Section


def all_sections() -> dict[str, type[Section]]:
    """The class of each section by its key in params.yaml, sorted by key.

    The classes are found in the modules of this package, so a new section needs no entry in a list.
    """
    modules = [importlib.import_module(f"lm.config.{found.name}") for found in pkgutil.iter_modules(lm.config.__path__)]
    classes = [
        section
        for module in modules
        for _, section in inspect.getmembers(module, inspect.isclass)
        if issubclass(section, Section) and section is not Section and section.__module__ == module.__name__
    ]
    return {section.name(): section for section in sorted(classes, key=lambda section: section.name())}
