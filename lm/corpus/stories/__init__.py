"""The default corpus: small children's stories from a grammar that knows the exact probability of each.

A story is told by drawing words and choosing phrases. Every text has exactly one derivation. So -log2 of its
probability is the sum over its choices, and the mean over many stories is the lowest loss that any model can reach.

How to add a plot: write it as a template into a module of `plots`. Each plot is told equally often. The opening of the
story has already introduced the `{hero}`, and in plots of a child also a `{trait}` and a `{hobby}`:

    "lost hat": '''
        {hero} lost {his} {color=COLORS} {cloth=CLOTHES}. {He} looked {HIDING_INSIDE}, but (it|the {cloth}) was gone.

        "Is this {a color} {cloth}?" asked {helper=FAMILY} {KINDLY}. "{A cloth} does not run away, {hero}." <goodnight>
    '''

The marks are explained in `grammar`, the lists are in `lexicon`, the fragments (`<goodnight>`) in `plots.fragments`.

Three rules keep derivations unique. In the tests, `proof.clashes` shows each place that breaks a rule:
- a choice must show at once: two options, each with the text that follows it, must not start with the same 80
  characters; better, their first words differ, because then a model sees early which option was chosen;
- two lists may share words, but two entries of one list must not have the same text;
- a word is drawn where it is first written, and its name is not drawn again in the same story.
"""

from lm.corpus.stories.source import derivations, open_stories, story_breach, tell_stories

__all__ = ["derivations", "open_stories", "story_breach", "tell_stories"]
