"""The default corpus: small children's stories from a grammar that knows the exact probability of each.

A story is told by drawing words and choosing phrases. As every text has exactly one derivation, -log2 of its
probability is the sum over the choices made, and their mean over many stories is the least any model can reach.

How to add a plot: write it as a template into a module of `plots`, and it is told as often as the others. A plot
finds its `{hero}` introduced, in plots of a child with a `{trait}` and a `{hobby}`:

    "lost hat": '''
        {hero} lost {his} {color=COLORS} {cloth=CLOTHES}. {He} looked {HIDING_INSIDE}, but (it|the {cloth}) was gone.

        "Is this {a color} {cloth}?" asked {helper=FAMILY} {KINDLY}. "{A cloth} does not run away, {hero}." <goodnight>
    '''

The marks are explained in `grammar`, the lists are in `lexicon`, the fragments (`<goodnight>`) in `plots.fragments`.

What keeps derivations unique, and `proof.clashes` in the tests tells where a rule is broken:
- a choice must show at once: two options, together with what follows, must not start with the same 80 characters;
  best is that their first words differ, for then a model, too, sees what was chosen as soon as it can;
- two lists may share words, yet two entries of one list may not share a text;
- a word is drawn where it is first written, and its name is not drawn again in the same story.
"""

from lm.corpus.stories.source import derivations, open_stories, tell_stories

__all__ = ["derivations", "open_stories", "tell_stories"]
