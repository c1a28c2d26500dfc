"""What people, animals and things are like, and how things are done."""

from lm.corpus.stories.words import words

TRAITS = words(
    """kind, brave, curious, clever, happy, shy, cheerful, busy, quiet, gentle, funny, friendly, playful, thoughtful,
    dreamy, lively, patient, stubborn, helpful, honest, restless, adventurous, polite, careful, bold, merry,
    forgetful, imaginative, eager, chatty, energetic, messy, sensible, mischievous, hopeful, talkative, generous,
    daring, impatient, inventive"""
)
SIZES = words(
    """big, little, small, tiny, huge, large, enormous, giant, gigantic, miniature, massive, colossal, teeny, wee"""
)
LOOKS = words(  # of things
    """shiny, old, pretty, special, lovely, funny, strange, magic, new, sparkling, smooth, dusty, wooden, perfect,
    polished, fancy, crooked, muddy, glittering, antique, precious, curious, painted, mysterious, ordinary, glowing,
    sturdy, rusty, dainty, plain, splendid, unusual, marvelous, carved, foreign, rare"""
)
SMELLS = words(
    """good, sweet, wonderful, delicious, warm, heavenly, funny, lovely, great, spicy, nice, amazing, fruity, yummy,
    buttery, fresh"""
)
SOFT = words(  # of clothes
    """warm, soft, old, new, woolly, striped, cozy, spotted, thick, knitted, patched, fluffy, faded, checkered, baggy,
    velvet, frayed"""
)
SAD = words(
    """sad, upset, unhappy, gloomy, disappointed, miserable, worried, troubled, glum, tearful, downcast, discouraged,
    sorrowful, dismayed, sorry"""
)
SCARED = words(
    """scared, afraid, frightened, nervous, worried, anxious, alarmed, uneasy, shaky, startled, terrified, timid,
    jumpy, tense"""
)
GLAD = words(
    """happy, proud, glad, thankful, cheerful, joyful, pleased, grateful, content, excited, hopeful, jolly, lucky,
    merry, peaceful, satisfied, carefree, lighthearted"""
)
WENT = words(
    """ran, walked, hurried, skipped, raced, hopped, went, marched, rushed, dashed, wandered, strolled, tiptoed,
    jogged, trotted, scurried, galloped, sprinted, bounced, scampered, sauntered, trudged, zoomed, ambled"""
)
KINDLY = words(
    """softly, kindly, gently, quietly, warmly, calmly, sweetly, cheerfully, politely, patiently, tenderly,
    thoughtfully, merrily, wisely, brightly, fondly"""
)
LOUDLY = words(
    """happily, loudly, excitedly, eagerly, joyfully, gleefully, brightly, wildly, playfully, cheerily, heartily,
    delightedly, gladly, boldly, merrily, proudly"""
)
HOBBIES = words(
    """drawing, reading, singing, dancing, climbing trees, painting, building towers, playing outside, riding a bike,
    swimming, collecting stones, baking, telling jokes, flying kites, looking at the stars, digging holes, jumping
    rope, playing soccer, catching bugs, making up songs, feeding the ducks, whistling, solving puzzles, splashing in
    puddles, playing tag, counting clouds, writing poems, roller-skating, playing chess, knitting, juggling, folding
    paper boats, studying maps, pressing flowers, turning cartwheels, inventing machines, studying beetles, blowing
    bubbles, carving wood, watching trains"""
)
ANIMAL_HOBBIES = words(
    """exploring, napping in the sun, picking berries, running in the grass, singing, digging holes, rolling down
    hills, swimming, gathering nuts, chasing butterflies, dancing in the rain, climbing, watching the clouds, telling
    stories, playing tag, eating honey, sniffing flowers, splashing in the stream, jumping over logs, counting the
    stars, collecting feathers, sliding on the ice, munching clover, listening to the wind, crunching leaves,
    humming"""
)
GAMES = words(
    """tag, hide-and-seek, soccer, catch, pirates, marbles, hopscotch, cards, checkers, kickball, leapfrog, dominoes,
    explorers, knights, baseball, tug-of-war, dress-up, astronauts, charades, badminton, croquet, dodgeball"""
)
SAID = words("said, answered, replied, called, whispered, declared, murmured, announced, sighed")
SHADY = words(
    """tall, old, shady, crooked, leafy, mossy, hollow, green, ancient, blooming, bent, lonely, knotty, spreading,
    gnarled"""
)
NOISES = words(
    """Thump, Creak, Scratch, Tap, Bump, Rattle, Crunch, Rustle, Squeak, Knock, Clank, Thud, Clatter, Drip, Swish,
    Whirr, Click, Plop"""
)
EXCLAIMED = words(
    """said, cried, shouted, laughed, called, cheered, exclaimed, squealed, gasped, sang, yelled, whooped, chirped,
    giggled"""
)
THEN = words(  # with a comma behind it
    """then, suddenly, just then, soon, all at once, a little later, before long, after a while, all of a sudden, a
    moment later"""
)
NUMBERS = words("three, two, four, five, six, seven, ten, eight, nine, twelve, eleven")
