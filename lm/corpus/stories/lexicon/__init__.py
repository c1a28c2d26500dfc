"""The words of the stories: every upper-case list in these modules can be drawn from in a template."""

from lm.corpus.stories.lexicon import animals, people, places, qualities, things
from lm.corpus.stories.words import WordList

LEXICON: dict[str, WordList] = {
    name: value
    for module in (animals, people, places, qualities, things)
    for name, value in vars(module).items()
    if isinstance(value, WordList)
}
