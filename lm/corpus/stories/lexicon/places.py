"""Where stories happen, and the time and the weather there."""

from lm.corpus.stories.words import words

HOMES = words(  # lived ...
    """in a little house, near the sea, in a small village, by the river, on a farm, in a big city, next to a bakery,
    at the edge of the forest, on a quiet street, in a tall tower, on top of a hill, near a lake, in a red brick
    house, by the railway, in a cozy cottage, on a houseboat, above a bookshop, in a sunny valley, beside an old mill,
    in a crooked house, across from the school, under the mountains, in a lighthouse, behind the market, on an island,
    near the desert, in a wooden cabin, beside the harbor, at the end of a lane, in an apartment with a balcony"""
)
DENS = words(  # lived ... for animals
    """in a hollow tree, in the forest, under an old oak, by a quiet pond, in a cozy den, near a waterfall, in a green
    meadow, beside a brook, at the foot of a mountain, in a burrow, behind a mossy rock, in a thicket, on the edge of
    a swamp, under a bramble bush, in a shady valley, inside a fallen log, near a honey tree, among tall ferns, in a
    windy field, beside a beaver dam, on a sunny slope, beneath the roots of a pine, in a snug cave, near a wild
    orchard"""
)
HIDING_INSIDE = words(
    """under the bed, behind the sofa, in the closet, under the table, in the kitchen, behind the door, in the toy
    box, on the shelf, in the bathtub, under the rug, behind the curtains, in the laundry basket, in the attic, under
    the stairs, in the cupboard, behind the piano, in the drawer, beside the fireplace, under the pillow, in the
    cellar, on the windowsill, behind the oven, behind the clock, under the blanket, in the hallway, behind the
    bookcase, in the pantry, inside the wardrobe, behind the mirror, in the umbrella stand, under the armchair, in the
    sewing basket, behind the radiator, in the suitcase, on top of the refrigerator, under the cushions"""
)
HIDING_OUTSIDE = words(
    """in the garden, under a bush, behind the shed, in the tall grass, by the pond, in the barn, under the porch, up
    in a tree, behind the fence, in the mailbox, near the well, on the roof, in the sandbox, beside the gate, in a
    puddle, behind a rock, under the bench, in the doghouse, beside the swing, in the flower bed, under the bridge,
    inside a barrel, behind the greenhouse, in the haystack, in a ditch, in the birdbath, beside the compost heap,
    behind the chicken coop, in the wheelbarrow, under the clothesline, in the hedge, in the strawberry patch"""
)
PLACES = words(  # out of doors, went to the ...
    """park, beach, forest, lake, farm, river, playground, meadow, hill, pond, orchard, old bridge, waterfall, harbor,
    windmill, valley, lighthouse, pumpkin patch, village green, rose garden, sand dunes, canal, vineyard, old ruins,
    cornfield, bandstand, creek, duck pond, fountain, old castle, bus stop, apple orchard, pine woods, cliff path,
    lily pond, wheat field, stone circle, mill pond, berry patch"""
)
TOWN_PLACES = words(  # with a roof, at the ...
    """school, library, market hall, theater, museum, town hall, train station, bakery, church, community center,
    circus tent, gym, concert hall, tea room, ballroom, fire station, grand hotel, opera house, bookshop, art gallery,
    palace"""
)
SKIES = words(
    """sunny, warm, bright, windy, cloudy, fine, cool, quiet, lovely, misty, breezy, pleasant, fresh, chilly, mild,
    cheerful, clear, gray, perfect, hazy, gentle, glorious, blustery, crisp, balmy"""
)
TIMES = words(
    """morning, afternoon, day, Saturday, Sunday, spring day, summer day, autumn day, Monday, Friday, weekend,
    holiday"""
)
