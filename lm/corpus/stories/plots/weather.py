"""Plots of snow, rain and darkness. They begin with words of their own instead of the fragment `when`."""

WEATHER = {
    "snowman": """
        One (cold|snowy|frosty|white|freezing) winter (morning|day), {hero} saw snow everywhere! <outfit> {He} {WENT}
        out and built a snowman with {his} {TRAITS} friend <friend>.

        They rolled {NUMBERS} {SIZES} balls of snow. {friend} found {a fruit=FRUITS} for the nose, and {hero} found
        two {LOOKS} {eyes=EYES} for the eyes. "Our snowman looks cold," {SAID} {friend}. So {hero} gave him {a SOFT}
        {color=COLORS} {cloth=CLOTHES}.

        They named the snowman {name=PET_NAMES} and (danced|skated|sang|played {GAMES}) around him until
        (dark|{NUMBERS} o'clock). But the next (day|week|morning), the sun came out. {name} grew smaller and smaller,
        until only the {fruit}, the {eyes}, and the {color} {cloth} were left. {hero} <sadly>.

        "Don't be sad," said {helper=FAMILY} {KINDLY}. "{name} has only gone to (the clouds|the river|the sea|the
        sky|the North Pole). He will be back."

        {hero} put the {color} {cloth} and the {eyes} {HIDING_INSIDE}. "See you next winter, {name}!" {he} {EXCLAIMED}
        {LOUDLY}. <goodnight>
    """,
    "rainy day": """
        It rained and rained all (day|morning|week|afternoon). {hero} could not go outside. {He} (played|tried)
        {GAMES}, counted {NUMBERS} {EYES}, read about {a SIZES} {ZOO}, and ate {a SNACKS}, but {he} was bored.

        {helper=FAMILY} (smiled|winked|laughed|thought for a moment) and gave {him} {a SIZES} {color=COLORS}
        {box=BOXES}. "This is not just {a box}," said {helper} {KINDLY}.

        {hero} climbed into the {color} {box} and closed {his} eyes. Now it was a
        (ship|rocket|submarine|spaceship|flying carpet|race car)! {He} sailed past {a COLORS} {BIRDS}, {a SIZES}
        {SEA}, and {NUMBERS} clouds, all the way to an island where {a TRAITS} {beast=ZOO} lived.

        "Welcome, {hero}," {SAID} the {beast}. "Would you like some {dish=DISHES}?"

        "Yes, please," said {hero} {LOUDLY}. They ate the {dish} and danced until (the moon came up|the stars came
        out|the drums stopped|it was dark).

        "Dinner time!" called {helper}. {hero} opened {his} eyes. The {beast} was gone, but on the table, next to
        {a FRUITS} and {a SMELLS} {SNACKS}, {he} saw the {dish}! {hero} <gladly>. <goodnight>
    """,
    "noise in the night": """
        (Late one night|In the middle of the night|One dark night|At midnight), {hero} woke up. Something was making a
        noise {spot=HIDING_INSIDE}. "{sound=NOISES}! {sound}!" {hero} was {SCARED}. Was it {a COLORS}
        (monster|dragon|ghost|giant|robot)? Was it {a SIZES} {beast=ZOO}?

        {He} pulled {his} {SOFT} {COLORS} blanket over {his} head, but the noise (did not stop|went on|grew louder).

        "I will be (brave|strong|bold|fearless)," {hero} told {himself}. {He} took {a tool=TOOLS} in one hand and
        {his} {LOOKS} {toy=TOYS} in the other. {He} tiptoed through the dark house, (one step at a time|step by
        step|as quiet as a mouse|past the {INSTRUMENTS}), and looked {spot}.

        Two {COLORS} eyes looked back at {him}. It was not {a beast} at all. It was {pet=PET_NAMES}, the {kind=PETS},
        eating {a SMELLS} {SNACKS}!

        "{pet}!" {EXCLAIMED} {hero} {LOUDLY}. "It was only you!" {He} put down the {tool} and the {toy}, and {he}
        laughed until {helper=FAMILY} (came in|woke up|turned on the light).

        "You were very brave, {hero}," said {helper} {KINDLY}. "(Most|Many) scary things turn out to be small when you
        look at them." {hero} <gladly>. And whenever {he} heard "{sound}!" in the night, {he} only
        (smiled|laughed|yawned|waved) and said, "Good night, {pet}."
    """,
}
