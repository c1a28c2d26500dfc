"""What can happen to a child out of doors."""

OUTSIDE = {
    "picnic": """
        {hero} packed {a fruit=FRUITS}, {a snack=SNACKS}, some {drink=DRINKS}, and {a COLORS} blanket. {He} {WENT} to
        the {place=PLACES} to have a picnic. <sights> {Then=THEN}, {he} met {his} {TRAITS} friend <friend>, who
        <sadly>.

        "(What is wrong|Why are you crying|What happened|What is the matter), {friend}?" asked {hero}.

        "I (lost|dropped|forgot) my lunch," {SAID} {friend}. "Now I have (nothing|not a thing|only {a BUGS}) to eat."

        {hero} looked at the {fruit}. It was (the only one|very ripe|big and sweet|{his} favorite). Then {he} smiled
        {KINDLY}. "Come with me to the {place}," {he} said. "We can share."

        They sat down under {a SHADY} {tree=TREES}. {friend} ate the {fruit}, {hero} ate the {snack}, and they both
        drank the {drink}. {A SIZES} {BUGS} (landed on|crawled over|sat on) {friend.his}
        (nose|hand|knee|shoe|elbow|ear), and they laughed {LOUDLY}.

        "You are a (good|true|wonderful|real) friend, {hero}," {SAID} {friend}. {hero} <gladly>, because (food tastes
        better when it is shared|sharing makes a small lunch big|a friend is better than a full basket|there is always
        enough for two). <goodnight>
    """,
    "little animal": """
        {hero} was (walking|skipping|running|on the way) to the {PLACES}. <sights> {Then=THEN}, {he} heard a
        (tiny|strange|sad|funny|small) sound. "{animal=LITTLE_ANIMALS.sound}! {animal.sound}!" (Behind|Under|Beside)
        {a SHADY} {TREES} sat a (poor|lost|muddy|shivering|little) {color=COLORS} {animal}.

        "(Oh, you poor thing|Hello, little one|Don't be afraid|I will not hurt you)," said {hero} {KINDLY}. "(Are you
        lost|Are you cold|Where is your home|Are you hungry)?"

        "{animal.sound}," {SAID} the {animal}. It was (wet|cold|hungry|tired) and {SCARED}. {hero} wrapped it in {his}
        {SOFT} {COLORS} {wrap=WRAPS} and (carried|took|brought) it home.

        {helper=FAMILY} gave the {color} {animal} some {DISHES} and a (bowl|cup|dish|bottle) of (water|milk). "May I
        keep it?" asked {hero}.

        "(Yes|Of course|Yes, you may)," said {helper}, "if you (feed|wash|brush|walk) it every (day|morning|evening)."

        {hero} named the {animal} {pet=PET_NAMES}. {pet} slept (in the kitchen|beside the bed|by the stove|at {his}
        feet|near the fire) in the {wrap}, played with {a LOOKS} {TREASURES}, and woke {him} up with a
        (loud|soft|happy|sleepy) "{animal.sound}!" {hero} and {pet} were (always|very|truly) {GLAD}. <goodnight>
    """,
    "beach": """
        {hero} and {his} {TRAITS} friend <friend> went to the beach. They built {a SIZES} sandcastle with {NUMBERS}
        towers. {hero} put {a look=LOOKS} {treasure=TREASURES} on the (top|gate|wall|roof), and {friend} made a flag
        from {a SOFT} {COLORS} {cloth=CLOTHES}.

        {Then=THEN}, a (big|huge|tall|cold|wild) wave came. Whoosh! It washed the castle away, and the {look}
        {treasure} with it. {friend} <sadly>. "All our work is (gone|lost|ruined|under water)!" {friend.he} said.

        But {hero} did not give up. "We can build (a better|a bigger|a stronger|another|a prettier) one," {he} said
        {KINDLY}. They {WENT} away from the water and dug with {a LOOKS} {SPADES}.

        While {he} was digging, {hero} (saw|met|found) {a COLORS} {sea=SEA}. Next to the {sea} lay the {look}
        {treasure}! "(Look|Hooray|Wow), {friend}!" {he} {EXCLAIMED} {LOUDLY}. "The {sea} has found our {treasure}!"

        They helped the {sea} back into the (waves|water|sea), and soon the {cloth} waved over a new castle. {hero}
        and {friend} sat beside it, ate {BAKES}, and (sang|laughed|told stories|counted boats). <goodnight>
    """,
    "zoo": """
        {hero} went to the zoo with {helper=FAMILY}. <outfit> First they saw {a SIZES} {BIRDS}, {NUMBERS} {TRAITS}
        parrots, and {a COLORS} {SEA}, and then they came to a (sleepy|hungry|proud|grumpy|curious|shy) {beast=ZOO}.

        The {beast} looked at {hero}. {Then=THEN}, it (reached|leaned) over the fence and took {helper.his}
        {color=COLORS} {cloth=CLOTHES}! "(Hey|Stop|Oh no|Help)!" {EXCLAIMED} {hero}. "Give back the {cloth}!"

        But the {beast} only (chewed on|sniffed|played with|sat on) it. {helper} <sadly>. The zookeeper, <neighbor>,
        came with {a TOOLS}, but the {beast} (ran away|would not listen|turned around|shook its head).

        "Maybe it is hungry," {SAID} {hero}. {He} (took|pulled) {a food=FRUITS} out of {his} bag and held it up
        {KINDLY}. The {beast} (sniffed|blinked|came closer|smiled), dropped the {cloth}, and ate the {food}. (Munch,
        munch|Crunch, crunch|Gulp)!

        "(Well done|Clever thinking|Good idea|Bravo), {hero}!" said {title} {surname}. "You know how to talk to
        {a beast}." {helper} put the {color} {cloth} back on and laughed {LOUDLY}. {hero} <gladly>. <goodnight>
    """,
    "visit": """
        {hero} visited the {job=JOBS.place}, where <neighbor> worked as {a job}. <outfit> But {title} {surname}
        <sadly>. "I cannot find my {job.thing}," {title.he} said. "{A job} is (no good|useless|lost|nobody) without
        it."

        "I will help you look," said {hero} {LOUDLY}. {He} looked (high and low|left and right|everywhere|up and down)
        and found {a LOOKS} {TREASURES}, {a SOFT} {CLOTHES}, and {a COLORS} {TOYS}, but not the {job.thing}.

        {Then=THEN}, {hero} heard {a SIZES} {BIRDS} (singing|calling|chirping|whistling) outside. {He} {WENT} out, and
        what did {he} see {HIDING_OUTSIDE}? It was the {job.thing}!

        "(Thank you|You saved the day|How clever you are|I am so happy), {hero}!" said {title} {surname}. "Would you
        like to be {a job} for a day?"

        "(Yes, please|Oh yes|I would love to)!" {hero} {EXCLAIMED}. {He} worked at the {job.place} until
        (noon|evening|{NUMBERS} o'clock), and {title} {surname} gave {him} {a LOOKS} {TREASURES} and some {DISHES}.
        {hero} <gladly>. <goodnight>
    """,
}
