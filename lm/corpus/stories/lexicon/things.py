"""Toys, food and other things. Single things, unless a list says otherwise."""

from lm.corpus.stories.words import table, words

TOYS = table(  # with the part that breaks off
    "part",
    """
    kite | tail
    boat | sail
    train | wheel
    doll | arm
    truck | wheel
    robot | arm
    plane | wing
    teddy bear | ear
    wagon | handle
    scooter | bell
    car | door
    drum | strap
    rocking horse | leg
    puppet | string
    dragon | wing
    castle | tower
    rocket | fin
    tricycle | pedal
    dinosaur | tail
    music box | key
    tractor | wheel
    dollhouse | roof
    bus | door
    elephant | trunk
    windmill | blade
    unicorn | horn
    helicopter | blade
    submarine | window
    pirate ship | mast
    crane | hook
    toy piano | lid
    bulldozer | shovel
    ambulance | siren
    marionette | foot
    yo-yo | string
    accordion | strap
    """,
)
COLORS = words(
    """red, blue, yellow, green, orange, purple, pink, white, brown, golden, silver, gray, turquoise, violet, scarlet,
    crimson, lavender, ivory, indigo, amber, emerald, maroon, bronze, lilac, copper, peach, teal, ruby, magenta,
    coral"""
)
TREASURES = words(  # small things that fit into a pocket
    """shell, button, coin, marble, feather, ring, bell, key, stone, bead, acorn, whistle, ribbon, pebble, medal,
    badge, thimble, pencil, crystal, star, nut, pearl, buckle, locket, penny, seed, charm, spoon, leaf, jewel, brooch,
    pin, magnet, compass, stamp, ticket, hairpin, pinecone, token, bracelet, necklace, chestnut, fossil, arrowhead,
    walnut, puzzle piece, paper clip, sticker, domino tile, chess piece, shoelace, bottle cap, harmonica, flute,
    pocket watch, eraser, crayon, keychain, cork"""
)
CLOTHES = words(
    """hat, scarf, coat, mitten, sweater, sock, jacket, boot, cap, glove, dress, shirt, shoe, apron, cape, vest,
    slipper, raincoat, sandal, belt, bonnet, sunhat, cardigan, bathrobe, hood, beret, poncho, kimono, waistcoat,
    tunic"""
)
SPADES = words("spade, shovel, rake, trowel, hoe, bucket, watering can, garden fork, flowerpot, wheelbarrow")
REPAIRS = words(
    """hammer, needle, screwdriver, brush, wrench, hook, ruler, clamp, pair of pliers, safety pin, file, drill,
    spanner, mallet, chisel"""
)
CLEANERS = words("mop, towel, broom, sponge, cloth, bucket, brush, rag, napkin, dustpan, paper towel, duster, scrubber")
PULLERS = words(
    """rope, vine, stick, branch, string, net, ladder, belt, fishing rod, ribbon, chain, scarf, hose, pole, rake,
    towel"""
)
BUILDERS = words(
    """hammer, saw, ladder, rope, plank, bucket of clay, bag of nails, pile of straw, wheelbarrow, pulley, stack of
    bricks, roll of bark"""
)
TOOLS = words(
    """rope, ladder, basket, net, bucket, blanket, lantern, broom, shovel, hook, stick, map, flashlight, umbrella,
    rake, wheelbarrow, hammer, pole, box, string, saw, pulley, crowbar, mop, candle, magnifying glass, spade, sack,
    tent, trowel, hose"""
)
FRUITS = words(
    """apple, banana, orange, pear, peach, plum, strawberry, cherry, mango, melon, grape, lemon, apricot, coconut,
    kiwi, pineapple, fig, papaya, nectarine, raspberry, blueberry, lime, tangerine, pomegranate, watermelon,
    blackberry, guava, gooseberry, grapefruit, persimmon, date, quince, lychee, mulberry, currant, olive"""
)
SNACKS = words(
    """cookie, sandwich, muffin, cupcake, pretzel, pancake, bun, biscuit, cracker, donut, waffle, pie, brownie, bagel,
    roll, tart, scone, egg, carrot, slice of cheese, croissant, gingerbread man, lollipop, granola bar, cream puff,
    candy cane, pickle, dumpling, macaroon, meatball, turnover, crumpet, rice ball, turnip, radish, quiche, taco,
    popsicle"""
)
DISHES = words(  # with no article
    """soup, cake, bread, apple pie, pancakes, spaghetti, pizza, porridge, stew, pudding, noodles, jam, ice cream,
    oatmeal, popcorn, cherry pie, rice pudding, dumplings, tomato soup, fudge, applesauce, gingerbread, carrot cake,
    mashed potatoes, macaroni, custard, jelly, honey cake, pumpkin pie, omelets, fruit salad, toast, shortbread,
    caramel corn, onion soup, strudel, cornbread, marmalade, lasagna, chili, waffles, blueberry muffins, cinnamon
    rolls, meat loaf, fritters, biscuits, tapioca, chowder"""
)
BAKES = words(  # with no article; fruit goes into them
    """cake, pancakes, cookies, pie, muffins, pudding, bread, cupcakes, tarts, waffles, scones, buns, jam, biscuits,
    brownies, crumble, pastries, sponge cake, dumplings, strudel, turnovers, cheesecake, doughnuts, fritters, trifle,
    fudge"""
)
DRINKS = words(
    """milk, water, juice, tea, lemonade, cocoa, cider, orange juice, ginger ale, warm milk, apple juice, berry juice,
    iced tea, mint tea, coconut milk, grape juice, soda, buttermilk, lime punch, hot cider"""
)
VEGETABLES = words(  # plural
    """carrots, beans, peas, potatoes, tomatoes, pumpkins, onions, beets, radishes, turnips, cabbages, cucumbers,
    peppers, leeks, lettuces, squashes, parsnips, artichokes, melons, eggplants, yams, sprouts, sweet potatoes,
    shallots"""
)
FLOWERS = words(
    """rose, tulip, daisy, sunflower, lily, violet, poppy, daffodil, pansy, marigold, buttercup, bluebell, iris,
    orchid, carnation, snowdrop, lilac, peony, crocus, primrose, dahlia, hyacinth, foxglove, petunia, geranium,
    jasmine, zinnia, begonia, cornflower, honeysuckle, aster, lupine, magnolia, camellia"""
)
TREES = words(
    """oak, apple tree, maple, willow, pine, elm, birch, cherry tree, fir, chestnut tree, walnut tree, cedar, plum
    tree, ash, beech, spruce, poplar, hazel, fig tree, linden, sycamore, hawthorn, alder, juniper, cypress, yew,
    redwood, rowan"""
)
WRAPS = words(  # warm enough for a small animal
    """scarf, coat, sweater, blanket, jacket, towel, shawl, raincoat, cardigan, quilt, apron, hood, poncho,
    bathrobe"""
)
INSTRUMENTS = table(
    "sound",
    """
    drum | boom, boom
    piano | plink, plonk
    trumpet | toot, toot
    guitar | twang, twang
    violin | squeak, squeak
    flute | tweedle-dee
    horn | honk, honk
    whistle | tweet, tweet
    bell | ding, dong
    tuba | oompah, oompah
    harp | pling, pling
    banjo | plunk, plunk
    accordion | wheeze, wheeze
    xylophone | ting, tang
    tambourine | jingle, jangle
    cello | vroom, vroom
    gong | bong, bong
    triangle | ting-a-ling
    trombone | wah, wah
    ukulele | strum, strum
    harmonica | wee-oo, wee-oo
    clarinet | doodle-oo
    cymbal | crash, crash
    kazoo | buzz, buzz
    bagpipe | drone, drone
    mandolin | tinkle, tinkle
    """,
)
EYES = words(  # of a snowman, and good to count on a rainy day
    """buttons, stones, acorns, coins, marbles, walnuts, pinecones, chestnuts, shells, olives, pebbles, beads,
    raisins, corks, grapes, plums, checkers, thimbles, hazelnuts, bottle caps, almonds, prunes"""
)
BOXES = words("box, basket, suitcase, barrel, crate, bathtub, chest, wheelbarrow, bag, hammock, trunk, wagon, bucket")
