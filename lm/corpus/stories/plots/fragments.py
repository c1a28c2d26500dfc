"""Pieces that several plots use: openings, people, details and last lines."""

FRAGMENTS = {
    # How stories begin.
    "child": """
        (Once upon a time, there was|There once was|Once there was|Long ago, there was) {a trait=TRAITS} (girl named
        {hero=GIRLS}|boy named {hero=BOYS}) who lived {home=HOMES} with {his} {kin=KIN}. {He} (liked|loved|enjoyed)
        {hobby=HOBBIES} (every day|all day long|more than anything|after school|on weekends|with {his} friends).
    """,
    "animal": """
        (Once upon a time, a|Long ago, a|In a land far away, a|Deep in the woods, a) (little|young|small|tiny)
        {animal=WOODLAND} named ({hero=HE_ANIMALS}|{hero=SHE_ANIMALS}) lived {home=DENS}. {hero} was {a trait=TRAITS}
        {animal}, and {he} (loved|liked|enjoyed) {hobby=ANIMAL_HOBBIES}.
    """,
    "when": "One {SKIES} {TIMES},",
    # Who is there.
    "friend": "({friend=FRIEND_GIRLS}|{friend=FRIEND_BOYS})",
    "animalfriend": "{a other=NEIGHBORS} named ({friend=FRIEND_GIRLS}|{friend=FRIEND_BOYS})",
    "neighbor": "{title=TITLES} {surname=SURNAMES}",
    # Details.
    "sights": """
        (On the way|Along the path|As {he} went), {he} (saw|passed|waved to|greeted) {a COLORS} {BIRDS}
        (in|under|beside) {a TREES} and {a SIZES} {BUGS} on {a FLOWERS}.
    """,
    "outfit": """
        {He} (put on|wore) {his} {SOFT} {COLORS} {CLOTHES} and (put|hid|tucked|carried) {a LOOKS} {TREASURES} in {his}
        (pocket|bag).
    """,
    "meal": "{DISHES} with {a FRUITS}, {a SNACKS}, and (a cup|a mug|a glass|plenty) of {DRINKS}",
    "sadly": "(felt|was|looked) (very|quite|rather|a little|really) {SAD}",
    "gladly": "(felt|was) (very|truly|really|quite|ever so) {GLAD}",
    # How stories end.
    "goodnight": """
        (That night, {hero} dreamed of {a COLORS} {ZOO} that liked {hobby}.
        |For (supper|dinner), {hero} and {his} {kin} had <meal>.
        |{hero} was still {a trait} child, but {a GLAD} one.
        |After that, {hero} went back to {hobby}, and {he} <gladly>.
        |It was the best day of all for {hero}.)
    """,
    "evening": """
        (That night, {hero} (fell asleep|slept) under the (stars|moon|full moon|trees) and dreamed of {DISHES}.
        |In the evening, {hero} and {friend} had <meal>.
        |After that, {hero} went back to {hobby}, and {he} <gladly>.
        |From then on, everyone called {him} {hero} the (Kind|Brave|Wise|Good|Great|Clever).
        |And if the wind is right, you can still hear {hero} (laugh|sing|hum|snore|whistle).)
    """,
}
