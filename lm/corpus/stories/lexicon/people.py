"""Names of children, animals and grown-ups. The lists share no name, so no two people of a story do."""

from lm.corpus.stories.words import people, table, words

GIRLS = people(
    "she",
    """Lily, Mia, Sue, Anna, Emma, Lucy, Rose, Ella, Daisy, Molly, Sara, Zoe, Nora, Ruby, Grace, Jane, Ivy, Alice,
    Clara, Maya, Hannah, Poppy, Julia, Eva, Amy, Kate, Leah, Sophie, Tess, Nina, Olive, Wendy, Bella, Hazel, Chloe,
    June, Heidi, Penny, Stella, Rita, Matilda, Gwen, Fiona, Carmen, Yuki, Priya, Amara, Ingrid""",
)
BOYS = people(
    "he",
    """Tom, Ben, Max, Sam, Jack, Tim, Leo, Noah, Finn, Jake, Henry, Oscar, Peter, Luke, Owen, Charlie, Adam, Theo,
    Will, Billy, George, Hugo, Eli, Toby, Oliver, Simon, Felix, Dan, Harry, Nick, Jonah, Alfie, Miles, Paul, Ravi,
    Otto, Arthur, Walter, Edgar, Mateo, Kofi, Omar, Hiro, Rufus, Lars, Gus, Ned, Victor""",
)
FRIEND_GIRLS = people(
    "she",
    """Sally, Mary, Jenny, Kim, Betty, Dora, Holly, Abby, Tina, Maria, Carla, Eve, Lola, Pia, Frida, Wilma, Nell,
    Aisha, Leila, Rosalie, Vera, Greta, Mabel, Edith, Odette, Kiki, Salma, Yara""",
)
FRIEND_BOYS = people(
    "he",
    """Joe, Bob, Mark, Andy, Danny, Ted, Fred, Josh, Pete, Ryan, Carl, Ali, Milo, Bruno, Axel, Kenji, Diego, Ivan,
    Amir, Rory, Stan, Basil, Cyrus, Emil, Wes, Boris, Anton, Raj""",
)
FAMILY = table(
    "pronoun",
    """
    Mom | she
    Dad | he
    Grandma | she
    Grandpa | he
    Aunt May | she
    Uncle Bill | he
    Aunt Rosa | she
    Uncle Joe | he
    Nana | she
    Papa | he
    Aunt Ethel | she
    Cousin Marco | he
    """,
)
TITLES = table(
    "pronoun",
    """
    Mr. | he
    Mrs. | she
    Miss | she
    """,
)
SURNAMES = words(
    """Brown, Green, Baker, Bell, Wood, Hill, Potter, Finch, Plum, Berry, Pepper, Marsh, Winter, Button, Kettle,
    Fisher, Bloom, Crumb, Parsley, Pickle, Thistle, Puddle, Whistle, Acorn, Twig, Biscotti, Lantern, Quill, Teapot,
    Fiddle"""
)
SHE_ANIMALS = people(
    "she",
    """Pip, Dot, Willow, Tilly, Minnie, Clover, Fern, Flora, Nutmeg, Maple, Juniper, Bramble, Pearl, Luna, Coco,
    Snowdrop, Pebble, Peony, Violet, Dewdrop, Tansy, Saffron""",
)
HE_ANIMALS = people(
    "he",
    """Rusty, Bobo, Benny, Hoppy, Chip, Ollie, Barnaby, Bumble, Rocky, Moss, Pogo, Gilbert, Monty, Ziggy, Fergus,
    Tumble, Jasper, Pippin, Digby, Humphrey, Rollo, Sprocket, Waldo, Cricket""",
)
PET_NAMES = words(
    """Spot, Fluffy, Buddy, Whiskers, Lucky, Patch, Ginger, Cookie, Shadow, Biscuit, Mittens, Socks, Peanut, Pickles,
    Smudge, Bubbles, Waffles, Noodle, Tiger, Pumpkin, Domino, Marble, Sunny, Freckles, Muffin, Captain, Jellybean,
    Pudding, Bandit, Scruff, Nibbles, Toffee, Rascal, Truffle, Caramel, Boots, Figaro, Professor, Sprinkles"""
)
JOBS = table(
    "place | thing",
    """
    baker | bakery | loaf of bread
    farmer | farm | basket of eggs
    doctor | clinic | bandage
    teacher | school | storybook
    gardener | garden | watering can
    fisher | harbor | fishing net
    mail carrier | post office | parcel
    librarian | library | picture book
    cook | kitchen | pot of soup
    painter | studio | paintbrush
    carpenter | workshop | hammer
    tailor | tailor shop | spool of thread
    firefighter | fire station | fire hose
    shoemaker | shoe shop | pair of boots
    miller | mill | sack of flour
    florist | flower shop | bunch of roses
    beekeeper | orchard | jar of honey
    mechanic | garage | wrench
    pilot | airfield | propeller
    sailor | boat | coil of rope
    potter | pottery | clay bowl
    clockmaker | clock shop | golden clock
    musician | concert hall | violin
    zookeeper | zoo | bucket of fish
    dentist | dentist's office | toothbrush
    blacksmith | forge | horseshoe
    weaver | weaving room | woolen blanket
    astronomer | observatory | telescope
    shepherd | meadow | shearing knife
    glassblower | glass shop | blue bottle
    conductor | train station | silver whistle
    barber | barber shop | pair of scissors
    plumber | plumbing shop | copper pipe
    magician | theater | magic wand
    goldsmith | jewelry shop | tiny crown
    chimney sweep | town hall | long brush
    """,
)
KIN = words(
    """family, mom and dad, grandma, grandpa, big sister, little brother, aunt, two cousins, mother, father,
    grandparents, big brother, three sisters, uncle, twin sister, baby brother, aunt and uncle, five brothers,
    great-grandmother"""
)
