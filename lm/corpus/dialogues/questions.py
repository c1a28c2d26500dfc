"""What can be asked about a built-in story, and the answer, in the marks of `lm.corpus.stories.grammar`.

A question has several wordings, its answer has one. A question with `after` asks on: it can only follow the question of
that kind, because its pronoun means what that question was about.
"""

from typing import NamedTuple


class Question(NamedTuple):
    """A question whose answer is known from the words that a story remembers."""

    kind: str
    asks: str
    answer: str
    after: str | None = None


OF_CHILDREN = (
    Question("hero", "(Who is the story about|What was the name of the child)?", "The story is about {hero}."),
    Question("home", "(Where did {hero} live|Where was the home of {hero})?", "{hero} lived {home}."),
    Question("hobby", "(What did {hero} like to do|What was the hobby of {hero})?", "{hero} liked {hobby}."),
    Question("kin", "(Who did {hero} live with|Who else lived in {his} house)?", "{hero} lived with {his} {kin}."),
    Question("kin", "And who did {he} live with?", "{He} lived with {his} {kin}.", after="home"),
    Question("home", "And where did {he} live?", "{He} lived {home}.", after="hero"),
)

OF_ANIMALS = (
    Question("hero", "(Who is the story about|What was the name of the {animal})?", "The story is about {hero}."),
    Question("home", "(Where did {hero} live|Where was the home of {hero})?", "{hero} lived {home}."),
    Question("hobby", "(What did {hero} like to do|What was the hobby of {hero})?", "{hero} liked {hobby}."),
    Question("animal", "(What kind of animal was|Which animal was) {hero}?", "{hero} was {a animal}."),
    Question("animal", "And what kind of animal was {he}?", "{He} was {a animal}.", after="hero"),
    Question("home", "And where did {he} live?", "{He} lived {home}.", after="hero"),
    Question("friend", "(What was the name of the {other}|Who was the {other})?", "The {other} was called {friend}."),
    Question("friend", "(What kind of animal was|Which animal was) {friend}?", "{friend} was {a other}."),
)

# What only one plot knows, by the name of the plot.
OF_PLOTS = {
    "lost toy": (
        Question("thing", "What (did {hero} lose|could {hero} not find)?", "{hero} lost {a color} {toy}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("helper", "Who helped {hero} (to look for it|to find it)?", "{helper} helped {him}."),
        Question("next", "What (happened|did they find) in the end?", "They found the {look} {color} {toy}."),
    ),
    "broken toy": (
        Question("thing", "What did {hero} break?", "{hero} broke {a color} {toy}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("part", "What (came|fell) off?", "The {toy.part} came off."),
        Question("helper", "Who (mended it with|helped) {hero}?", "{helper} helped {him}."),
        Question("next", "What did they use to mend it?", "They used {a tool}."),
    ),
    "birthday surprise": (
        Question("who", "Whose birthday was it?", "It was the birthday of {helper}."),
        Question("thing", "What did {hero} want to make?", "{hero} wanted to make {dish}."),
        Question("next", "What spilled?", "The {drink} spilled."),
        Question("helper", "Who (helped {hero} to clean up|came by)?", "{friend} helped {him}."),
    ),
    "music": (
        Question("thing", "What did {hero} (get|play)?", "{hero} got {a color} {instrument}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("giver", "Who gave {hero} the {instrument}?", "{helper} gave it to {him}."),
        Question("place", "Where was the concert?", "It was at the {hall}."),
        Question("sound", "What did the {instrument} sound like?", 'It went "{instrument.Sound}!"'),
    ),
    "garden": (
        Question("thing", "What did they plant?", "They planted {vegetables}."),
        Question("helper", "Who (planted them with|helped) {hero}?", "{helper} helped {him}."),
        Question("who", "Who made (the|a) soup?", "{title} {surname} made it."),
    ),
    "picnic": (
        Question("place", "Where (was the picnic|did {hero} have a picnic)?", "It was at the {place}."),
        Question("friend", "Who had (no lunch|lost the lunch)?", "{friend} had no lunch."),
        Question("next", "What did {friend} eat?", "{friend} ate the {fruit}."),
        Question("food", "What did {hero} eat?", "{hero} ate the {snack}."),
        Question("drink", "What did they drink?", "They drank the {drink}."),
    ),
    "little animal": (
        Question("thing", "(What did {hero} find|Which animal did {hero} find)?", "{hero} found {a color} {animal}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("sound", "What did the {animal} say?", 'It said "{animal.sound}!"'),
        Question("name", "What did {hero} (name|call) the {animal}?", "{hero} named it {pet}."),
        Question("helper", "Who gave the {animal} something to eat?", "{helper} did."),
    ),
    "beach": (
        Question("thing", "What (did the wave wash away|was on the castle)?", "It was {a look} {treasure}."),
        Question("friend", "Who was (with {hero}|at the beach with {hero})?", "{friend} was with {him}."),
        Question("next", "Who found the {treasure}?", "The {sea} found it."),
    ),
    "zoo": (
        Question("thing", "What did the {beast} take?", "It took {a color} {cloth}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("beast", "Which animal took the {cloth}?", "The {beast} took it."),
        Question("helper", "Who went to the zoo with {hero}?", "{helper} went with {him}."),
        Question("food", "What did {hero} (give to|hold up for) the {beast}?", "{hero} gave it {a food}."),
    ),
    "visit": (
        Question("job", "What was the (job|work) of {title} {surname}?", "{title} {surname} was {a job}."),
        Question("thing", "What was (lost|missing)?", "It was the {job.thing}."),
        Question("place", "Where did {hero} go?", "{hero} went to the {job.place}."),
    ),
    "snowman": (
        Question("name", "What was the name of the snowman?", "The snowman was called {name}."),
        Question("thing", "What did {hero} give the snowman?", "{hero} gave him {a color} {cloth}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("part", "What was the nose?", "It was {a fruit}."),
        Question("part", "What were the eyes?", "They were two {eyes}."),
        Question("friend", "Who (built the snowman with|helped) {hero}?", "{friend} helped {him}."),
    ),
    "rainy day": (
        Question("thing", "What did {helper} give {hero}?", "{helper} gave {him} {a color} {box}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("beast", "Who lived on the island?", "{A beast} lived there."),
        Question("food", "What did they eat?", "They ate {dish}."),
    ),
    "noise in the night": (
        Question("who", "Who (was it|made the noise)?", "It was {pet}, the {kind}."),
        Question("place", "Where was the noise?", "It was {spot}."),
        Question("thing", "What did {hero} take in one hand?", "{hero} took {a tool}."),
        Question("sound", "What did {hero} hear?", '{hero} heard "{sound}!"'),
    ),
    "stuck friend": (
        Question("who", "Who was stuck?", "{friend} the {other} was stuck."),
        Question("thing", "What did {friend} want (to get|to have)?", "{friend} wanted {a fruit}."),
        Question("helper", "Who brought the {tool}?", "{A color} {helper} brought it."),
    ),
    "lost": (
        Question("who", "(What|Who) did {hero} follow?", "{hero} followed {a bug}."),
        Question("thing", "What was on the door?", "It was {a look} {color} {thing}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("food", "What did {friend} smell?", "{friend} smelled {food}."),
    ),
    "race": (
        Question("place", "Where did the race end?", "It ended at the {goal}."),
        Question("thing", "What did the winner get?", "The winner got {a look} {color} {prize}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("next", "Who won (|the race)?", "{hero} won the race."),
        Question("who", "Who fell asleep?", "{friend} the {other} fell asleep."),
        Question("place", "Where did {friend} fall asleep?", "It was under {a tree}."),
    ),
    "storm": (
        Question("thing", "What was left after the storm?", "{A color} chair and {a look} {thing} were left."),
        Question("helper", "Who (came up the path|came to help)?", "{friend} the {other} came."),
        Question("tool", "What did {friend} bring?", "{friend} brought {a tool}."),
        Question("food", "What did they eat?", "They ate {food}."),
    ),
    "found treasure": (
        Question("thing", "What did {hero} find?", "{hero} found {a look} {color} {thing}."),
        Question("color", "What color was it?", "It was {color}.", after="thing"),
        Question("who", "(Who had lost it|Whose {thing} was it)?", "It was the {thing} of {friend}."),
    ),
    "party": (
        Question("food", "What did {hero} (make|cook) for the party?", "{hero} made {food}."),
        Question("who", "Who (played|made) music?", "{friend} the {other} did."),
        Question("thing", "What did {friend} play?", "{friend} played the {instrument}."),
        Question("drink", "What did the {bird} drink?", "It drank the {drink}."),
    ),
}

# Words that a story of a plot has for certain, so that somebody can wish for them without knowing its words.
SURE_WORDS = {
    "garden": ("soup", "baskets"),
    "picnic": ("picnic", "lunch"),
    "beach": ("beach", "wave"),
    "zoo": ("zoo",),
    "snowman": ("snowman", "snow"),
    "birthday surprise": ("birthday",),
    "race": ("race",),
    "storm": ("storm",),
    "party": ("party",),
    "music": ("concert",),
}

# Remembered words that somebody can wish for, in every plot that has them.
WISHES = (
    "toy",
    "instrument",
    "beast",
    "other",
    "animal",
    "helper",
    "friend",
    "treasure",
    "thing",
    "prize",
    "tool",
    "dish",
    "food",
    "fruit",
    "vegetables",
    "drink",
    "snack",
    "pet",
    "sea",
    "bug",
    "bird",
    "cloth",
    "box",
    "place",
    "hall",
    "goal",
)
