"""What can happen to an animal."""

AMONG_ANIMALS = {
    "stuck friend": """
        {hero} heard a cry near the {PLACES}. It was <animalfriend>. {friend} was stuck in a (deep hole|thorny
        bush|mud puddle|hollow log|fishing net|muddy ditch)!

        "Please help me, {hero}!" {friend} cried. "I wanted to (reach|get|pick) {a fruit=FRUITS}, and now I cannot get
        out."

        {hero} pulled {friend.him} by the (leg|left foot|right foot|back), but the {other} did not move. {friend} was
        still stuck and <sadly>. "Wait here!" {SAID} {hero}. {He} {WENT} to {a color=COLORS} {helper=BIRDS} who lived
        in {a SHADY} {TREES}. The {helper} brought {a LOOKS} {tool=PULLERS}, and {a SIZES} {bug=BUGS} came along too.
        They all held the {tool}. "One, two, three, pull!" {EXCLAIMED} the {bug} {LOUDLY}.

        (Pop|Plop|Whoops)! Out came {friend}, with the {fruit} still in {friend.his} mouth. Everyone fell down and
        laughed.

        "Thank you, {hero}, {helper}, and little {bug}," said the {other} {KINDLY}. They shared the {fruit} and some
        {DISHES}. Even the smallest friend can (help|make a difference|be a hero), and {hero} <gladly>. <evening>
    """,
    "lost": """
        {hero} followed {a COLORS} {bug=BUGS} deep into the woods. <sights> But when the {bug} was gone, {hero} did
        not know the way home. {He} was (lost|alone|all alone) and {SCARED}.

        {Then=THEN}, {he} met <animalfriend>. "Excuse me," said {hero} {KINDLY}, "do you know the way to the
        {PLACES}?"

        "No," said {friend} the {other}, "but I am good at (smelling|listening|finding things|asking
        questions|remembering). What is it like at home?"

        "It smells of {food=DISHES}," said {hero}, "and there is {a look=LOOKS} {color=COLORS} {thing=TREASURES} on
        the door."

        {friend} put {friend.his} nose in the air. "{Food}!" {friend.he} {EXCLAIMED} {LOUDLY}. "It comes from behind
        that {TREES}." They {WENT} past {a FLOWERS} bush and {a SIZES} {BIRDS}, until they saw a door with {a look}
        {color} {thing} on it.

        "That is my home!" said {hero}, who <gladly>. {He} gave the {other} some {food} and {a LOOKS} {TREASURES}.
        <evening>
    """,
    "race": """
        {hero} met <animalfriend>. "I am the fastest {other} in the world," said {friend} {LOUDLY}. "Nobody can beat
        me. You are only a (little|slow|small|sleepy) {animal}."

        "(Let us race|Let us find out|We will see about that)," said {hero} {KINDLY}. "The first to reach the
        {goal=PLACES} wins {a look=LOOKS} {color=COLORS} {prize=TREASURES}."

        {A SIZES} {judge=BIRDS} called, "Ready, set, go!" {friend} (dashed|raced|sped|zoomed|shot) ahead, but {hero}
        went on (step by step|at {his} own pace|slowly and steadily|without stopping). <sights>

        {Then=THEN}, {friend} stopped to eat {a FRUITS} and {a SMELLS} {SNACKS} under {a tree=TREES}. The {other} fell
        asleep. {hero} passed the {tree} and reached the {goal} first!

        "{hero} is the winner!" {EXCLAIMED} the {judge} and gave {him} the {look} {color} {prize}. When {friend} woke
        up, {friend.he} <sadly>. "I should not have (boasted|bragged|laughed at you|slept)," {SAID} {friend}.

        {hero} let {friend} hold the {prize} on the way home. (Slow and steady|Steady feet|Patient steps|Small steps)
        can win the race. <evening>
    """,
    "storm": """
        {hero} saw dark clouds over the {PLACES}. (Boom|Crash|Rumble)! A storm came and blew away {his} {LOOKS}
        {TOOLS}, {his} {SOFT} {CLOTHES}, and the roof of {his} house. {hero} hid under {a SHADY} {TREES} and was
        {SCARED}.

        When the storm was over, only {a color=COLORS} chair and {a look=LOOKS} {thing=TREASURES} were left. {hero}
        <sadly>.

        {Then=THEN}, <animalfriend> came up the path. "I brought {a tool=BUILDERS}," said {friend} {KINDLY},
        "{a bird=BIRDS} is bringing some {food=DISHES}, and {a bug=BUGS} is bringing {a SIZES} {FRUITS}."

        All (day|morning|afternoon) long, they built and hammered. The {bird} sang, the {bug} carried leaves, and
        {friend} used the {tool} for a new {COLORS} roof. {hero} put the {color} chair by the window and hung the
        {look} {thing} over the door.

        They ate the {food} and drank {DRINKS}. "The wind took my house," said {hero}, "but it could not take my
        friends." And {he} <gladly>. <evening>
    """,
    "found treasure": """
        {hero} found {a look=LOOKS} {color=COLORS} {thing=TREASURES} {HIDING_OUTSIDE}. "Somebody must have lost it,"
        {he} thought.

        {He} asked {a SIZES} {first=BIRDS} in {a TREES}. "Is this your {thing}?" "No," said the {first} {KINDLY}.
        "(Ask|Go and ask|You should ask) the {bug=BUGS}."

        {He} asked the {bug} on {a FLOWERS}. "Is this your {thing}?" "No," {SAID} the {bug}. "What would {a bug} do
        with {a color} {thing}?"

        {Then=THEN}, {he} met <animalfriend>. The {other} was looking (under every leaf|behind every rock|all
        around|in the mud|high and low) and <sadly>. "I have lost something {look}," {SAID} {friend}. "My
        (grandmother|mother|uncle|best friend) gave it to me."

        "Was it {color}?" asked {hero}. "Was it {a thing}?" And {he} held out the {look} {color} {thing}.

        "(Yes, yes|That is it|My treasure|Oh, yes)!" {EXCLAIMED} {friend} {LOUDLY}. "How can I thank you?"

        "(Come and play {GAMES} with me|Share some {DISHES} with me|Just be my friend|Tell me a story about {a ZOO}),"
        said {hero}. They {WENT} home, and {hero} <gladly>, because (a friend is the best treasure|it is good to give
        back what you find|honest paws make good friends). <evening>
    """,
    "party": """
        {hero} wanted to give a party near the {PLACES}. {He} made some {food=DISHES}, {a SIZES} bowl of
        {drink=DRINKS}, and {a fruit=FRUITS} salad. {He} hung {NUMBERS} {COLORS} lanterns and {a SOFT} {CLOTHES} in
        {a TREES}.

        {He} invited {a bird=BIRDS}, {a bug=BUGS}, and <animalfriend>. But {he} forgot to say when! (Nobody came|No
        one came|Not one guest came), and {hero} <sadly>.

        {Then=THEN}, {he} heard {a instrument=INSTRUMENTS}. "{instrument.Sound}!"

        It was {friend}, with the {bird} and the {bug} behind {friend.him}. "(Are we late|Are we early|Is this the
        party)?" asked the {other} {KINDLY}. "We came when we smelled the {food}."

        "You are (right on time|just in time|all very welcome)!" {EXCLAIMED} {hero} {LOUDLY}. The {bird} drank the
        {drink}, the {bug} ate the {fruit} salad, and {friend} played the {instrument} until everyone danced.
        "{instrument.Sound}!" {hero} <gladly>. (Friends are worth waiting for|It is never too late for a party|A good
        smell is the best invitation), {he} thought. <evening>
    """,
}
