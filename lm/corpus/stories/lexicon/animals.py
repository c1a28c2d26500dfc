"""Animals, and what they say and do."""

from lm.corpus.stories.words import table, words

WOODLAND = words(  # heroes: small, and at home among trees
    """rabbit, fox, bear, squirrel, mouse, hedgehog, raccoon, badger, chipmunk, beaver, mole, otter, skunk, weasel,
    fawn, dormouse, hare, ferret, porcupine, marten, shrew, lynx, opossum, vole"""
)
NEIGHBORS = words(  # friends of the heroes above
    """frog, duck, turtle, owl, deer, goose, cat, toad, wolf, goat, hen, moose, swan, lizard, tortoise, pig, donkey,
    heron, sheep, pheasant, rooster, salamander, stork, elk, newt, quail, crane, peacock, bison, boar, cuckoo,
    gecko"""
)
LITTLE_ANIMALS = table(  # found in need of help
    "sound",
    """
    kitten | Meow
    puppy | Woof
    bird | Tweet
    duckling | Quack
    lamb | Baa
    bunny | Squeak
    chick | Cheep
    piglet | Oink
    frog | Ribbit
    owl | Hoot
    goat | Maa
    goose | Honk
    crow | Caw
    squirrel | Chitter
    hedgehog | Snuffle
    raccoon | Chirr
    guinea pig | Wheek
    rooster | Cock-a-doodle-doo
    dove | Coo
    turkey | Gobble
    parrot | Squawk
    fox cub | Yip
    """,
)
PETS = words(
    """dog, cat, rabbit, hamster, parrot, pony, turtle, goat, guinea pig, goldfish, lizard, ferret, canary, duck"""
)
ZOO = words(
    """lion, elephant, monkey, tiger, giraffe, zebra, panda, penguin, hippo, kangaroo, camel, flamingo, rhino,
    crocodile, koala, gorilla, ostrich, leopard, peacock, polar bear, cheetah, sloth, lemur, walrus, llama, jaguar,
    emu, tapir, anteater, armadillo, python, chimpanzee, buffalo, meerkat, antelope, baboon, toucan, alligator, hyena,
    pelican, yak, iguana, orangutan, gazelle, warthog, cobra, vulture, wombat, okapi, chameleon, mongoose, platypus"""
)
SEA = words(
    """fish, crab, dolphin, whale, starfish, jellyfish, sea turtle, octopus, seahorse, shark, lobster, squid, shrimp,
    eel, manta ray, sea lion, swordfish, puffin, clownfish, urchin, narwhal, manatee, pufferfish, anemone, cuttlefish,
    barnacle"""
)
BUGS = words(
    """butterfly, ladybug, bee, ant, beetle, dragonfly, caterpillar, grasshopper, spider, firefly, worm, moth,
    cricket, bumblebee, centipede, gnat, mantis, earwig, cicada, aphid, damselfly"""
)
BIRDS = words(
    """robin, crow, sparrow, blackbird, pigeon, magpie, jay, finch, starling, swallow, wren, seagull, raven, cardinal,
    hummingbird, woodpecker, goldfinch, nightingale, partridge, thrush, oriole, kingfisher, lark, jackdaw"""
)
