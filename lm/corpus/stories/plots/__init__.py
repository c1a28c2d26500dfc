"""The plots, and the one grammar they make together."""

from typing import NamedTuple

from lm.corpus.stories.grammar import Grammar, Nodes, choice
from lm.corpus.stories.lexicon import LEXICON
from lm.corpus.stories.plots.among_animals import AMONG_ANIMALS
from lm.corpus.stories.plots.at_home import AT_HOME
from lm.corpus.stories.plots.fragments import FRAGMENTS
from lm.corpus.stories.plots.outside import OUTSIDE
from lm.corpus.stories.plots.weather import WEATHER

GRAMMAR = Grammar(LEXICON, FRAGMENTS)
PLOTS = {**AT_HOME, **OUTSIDE, **WEATHER, **AMONG_ANIMALS}


def compile_stories() -> Nodes:
    """The grammar of all stories."""
    any_day = _one_of("<when> ", {**AT_HOME, **OUTSIDE})
    child = _either("<child> ", [any_day, _one_of("", WEATHER)])
    animal = _one_of("<animal> <when> ", AMONG_ANIMALS)
    return _either("", [child, animal]).nodes


def compile_plots() -> dict[str, Nodes]:
    """The stories of each plot alone, by its name: together they are the stories of `compile_stories`."""
    openings = {"<child> <when> ": {**AT_HOME, **OUTSIDE}, "<child> ": WEATHER, "<animal> <when> ": AMONG_ANIMALS}
    return {
        name: (*GRAMMAR.compile(opening), *GRAMMAR.compile(plot))
        for opening, plots in openings.items()
        for name, plot in plots.items()
    }


class _Part(NamedTuple):
    nodes: Nodes
    n_plots: int


def _one_of(opening: str, plots: dict[str, str]) -> _Part:
    """An opening, then one of the plots."""
    return _either(opening, [_Part(GRAMMAR.compile(plot), 1) for plot in plots.values()])


def _either(opening: str, parts: list[_Part]) -> _Part:
    """An opening, then one of the parts. Their weights make all plots equally likely."""
    weights = [part.n_plots for part in parts]
    return _Part((*GRAMMAR.compile(opening), choice([part.nodes for part in parts], weights)), sum(weights))
