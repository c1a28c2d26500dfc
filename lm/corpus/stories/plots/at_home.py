"""What can happen to a child around the house."""

AT_HOME = {
    "lost toy": """
        {hero} could not find {his} {look=LOOKS} {color=COLORS} {toy=TOYS}. {He} (looked|searched|hunted|peeked)
        {HIDING_INSIDE} and (all over the house|in every room|upstairs and downstairs|in every corner), and all {he}
        found was {a SOFT} {CLOTHES}, {a LOOKS} {TREASURES}, and half {a SNACKS}. {He} <sadly>.

        "(What is wrong|What is the matter|What happened|Why so quiet), {hero}?" asked {helper=FAMILY} {KINDLY}.

        "I (can't find|lost|miss) my {color} {toy}," {SAID} {hero}. "It is my (favorite|best|most special|oldest)
        toy."

        "(Don't worry|Do not cry|Cheer up|Never mind)," {SAID} {helper}. "(Let's look outside|We will find it
        together|Two can look better than one|It cannot have gone far)."

        So they {WENT} out and looked {HIDING_OUTSIDE}. {Then=THEN}, next to {a FLOWERS} and {a COLORS} {BUGS}, they
        saw the {look} {color} {toy}! {hero} (hugged|kissed|danced around|thanked) {helper}. "(Thank you|Hooray|You
        are the best), {helper}!" {he} {EXCLAIMED} {LOUDLY}.

        From that day on, {hero} (always|never forgot to) put the {color} {toy} (away|on the shelf|in a safe
        place|next to {his} bed) at night. <goodnight>
    """,
    "broken toy": """
        {hero} was playing with {a look=LOOKS} {color=COLORS} {toy=TOYS} {HIDING_INSIDE}. (Crack|Snap|Crash|Oops)! The
        {toy.part} (fell|came|broke) off. {hero} <sadly>, for the {color} {toy} had been a (gift|present|birthday
        present|surprise) from {helper=FAMILY}.

        {He} {WENT} to {helper} and told the truth. "I broke the {toy.part} of the {toy}," {he} said. "I am
        (so|very|really|terribly) sorry."

        {helper} was not (angry|cross|mad|upset) at all. "Thank you for telling me," {helper.he} said {KINDLY}. "We
        can (fix|mend|repair) it with (glue|tape|a nail|string|a needle and thread|wire|a little paint),
        {a tool=REPAIRS}, and some {LOOKS} (paper|wood|cloth|tin|ribbon|leather)."

        They worked until (lunch|dinner|bedtime|the clock struck {NUMBERS}), and {helper} told {hero} a story about
        {a COLORS} {ZOO} with {a LOOKS} {CLOTHES}. {Then=THEN}, {he} put down the {tool}, and the {look} {color} {toy}
        was as good as new. "(Hooray|Wow|Look|Yippee)!" {EXCLAIMED} {hero} {LOUDLY}.

        {hero} learned that (telling the truth is always best|honest words can mend many things|it is good to ask for
        help|a mistake can be put right). <goodnight>
    """,
    "birthday surprise": """
        {hero} remembered that it was the birthday of {helper=FAMILY}. "I will make {dish=BAKES}!" {he} {EXCLAIMED}
        {LOUDLY}. {He} put {NUMBERS} eggs, {a FRUITS}, and some {drink=DRINKS} into {a SIZES} {COLORS} (bowl|pot|pan),
        and {he} stirred and stirred.

        {Then=THEN}, the {drink} spilled all over the (floor|table|cat|chair|tablecloth|dog|cookbook). Splash! {hero}
        <sadly>. It was lucky that {his} {TRAITS} friend <friend> (came by|knocked on the door|looked in) to show
        {him} {a LOOKS} {TREASURES}.

        "(Oh dear|Oh no|Goodness|My, my)!" {SAID} {friend}. "(Let me help you|We can clean it up together|I will get
        {a CLEANERS})."

        {hero} wiped and {friend} (swept|mopped|scrubbed|rinsed), and then they made the {dish} together. The kitchen
        smelled {SMELLS}. They wrapped up {a COLORS} {CLOTHES} and {a LOOKS} {INSTRUMENTS} for {helper}, and they hid
        {HIDING_INSIDE}.

        "Happy birthday, {helper}!" they {EXCLAIMED} when the door opened. {helper} tasted the {dish}. "This is the
        best birthday (ever|of my life|in the world|I ever had)," {helper.he} said {KINDLY}, and {hero} <gladly>.
        <goodnight>
    """,
    "music": """
        {hero} got {a color=COLORS} {instrument=INSTRUMENTS} from {helper=FAMILY}. "{instrument.Sound}!" went the
        {instrument}. It sounded (awful|terrible|dreadful|very strange|like {a ZOO} with a cold). The
        (dog|cat|baby|bird|neighbor) (hid|ran and hid) {HIDING_INSIDE}.

        "I will never learn to play the {instrument}," {SAID} {hero}. {He} <sadly>.

        "(Nobody|No one) is good at first," said {helper} {KINDLY}. "(Practice|Try|Play) a little every
        (day|morning|evening|afternoon)."

        So {hero} practiced {HIDING_OUTSIDE}, where only {a COLORS} {BIRDS} and {a SIZES} {BUGS} could hear {him}.
        "{instrument.Sound}!" went the {instrument} (again|over and over|day after day), and each day it sounded
        (better|sweeter|clearer|finer).

        In the (spring|summer|autumn|winter), there was a concert at the {hall=TOWN_PLACES}. {hero} put on {a SOFT}
        {CLOTHES} and played {his} {color} {instrument} for {NUMBERS} songs. "{instrument.Sound}!" The whole {hall}
        clapped {LOUDLY}, and {helper} clapped the (loudest|longest|most). {hero} <gladly>. <goodnight>
    """,
    "garden": """
        {hero} and {helper=FAMILY} planted {NUMBERS} rows of {vegetables=VEGETABLES} {HIDING_OUTSIDE}. {He} used
        {a LOOKS} {SPADES} and got mud on {his} {SOFT} {CLOTHES}. "When can we eat the {vegetables}?" {he} asked
        {LOUDLY}.

        "You have to (wait|be patient|give them time)," {SAID} {helper}. "They need (sun|light|rain|warm earth) and
        water."

        Every (morning|day|evening|afternoon), {hero} {WENT} out to water the {vegetables}. {He} sang to {a COLORS}
        {BUGS} and (chased away|talked to|waved at) {a SIZES} {BIRDS}. But nothing grew, and {hero} <sadly>.

        {Then=THEN}, between {a FLOWERS} and {a LOOKS} stone, {he} saw (something|a bit of|a speck of) green.
        "{helper}, come (quick|and see|here)!" {he} {EXCLAIMED}. "The {vegetables} are growing!"

        By the end of (summer|August|the season), they had {NUMBERS} baskets of {SIZES} {vegetables}. They gave the
        best ones to <neighbor>, who made {a SMELLS} soup and a pot of {DISHES}. "(Good things take time|It pays to
        wait|Patience makes everything taste better|Slow things are worth it)," said {title} {surname}. <goodnight>
    """,
}
