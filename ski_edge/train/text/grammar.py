"""Phrases of daily life from the word lists in `phrases.yaml`: actions, people, places, things. Seeded."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ski_edge.files import parse_yaml

_DOUBLED = re.compile(
    r"([^aeiou]*[aeiou][bdfgklmnprt]|unzip|unwrap|unplug|squat|forget|propel|transfer|patrol)$"
)  # sit -> sitting


@lru_cache
def lists() -> dict[str, Any]:
    """The content of phrases.yaml."""
    return parse_yaml((files("ski_edge.train.text") / "phrases.yaml").read_text("utf-8"), "phrases.yaml")


@lru_cache
def actions() -> tuple[str, ...]:
    """Base forms: `drink a glass of water`."""
    return tuple(f"{verb} {thing}".rstrip() for verb, things in lists()["actions"].items() for thing in things)


def doing(action: str) -> str:
    """`sit on a chair` -> `sitting on a chair`."""
    verb, _, rest = action.partition(" ")
    if verb.endswith("ie"):
        stem = verb[:-2] + "y"
    elif re.search(r"[^eoy]e$", verb):  # make -> making, but see -> seeing
        stem = verb[:-1]
    else:
        stem = verb + verb[-1] if _DOUBLED.match(verb) else verb
    return f"{stem}ing {rest}".rstrip()


def does(action: str) -> str:
    """`sit on a chair` -> `sits on a chair`."""
    verb, _, rest = action.partition(" ")
    if re.search(r"[^aeiou]y$", verb):
        verb = verb[:-1] + "ies"
    else:
        verb += "es" if re.search(r"(s|sh|ch|x|z|o)$", verb) else "s"
    return f"{verb} {rest}".rstrip()


def generate(count: int, seed: int) -> list[str]:
    """`count` distinct phrases (fewer where the grammar has no more): every action plainly, then mixtures."""
    rng = random.Random(seed)
    found = dict.fromkeys([*actions(), *map(doing, actions())])
    kinds = (_somewhere, _told, _then, _crossed, _scene)
    for _ in range(5 * count):
        if len(found) >= count:
            break
        found[rng.choices(kinds, weights=(4, 5, 1, 3, 2))[0](rng)] = None
    return list(found)[:count]


def _somewhere(rng: random.Random) -> str:
    """Drinking tea in the kitchen."""
    form = doing if rng.random() < 0.7 else str
    return f"{form(rng.choice(actions()))} {rng.choice(lists()['places'] + lists()['manners'])}"


def _told(rng: random.Random) -> str:
    """An old man is drinking tea in the kitchen."""
    person, action = rng.choice(lists()["people"]), rng.choice(actions())
    told = rng.choice((f"is {doing(action)}", doing(action), does(action), f"who is {doing(action)}"))
    end = rng.choice(lists()["places"] + lists()["manners"]) if rng.random() < 0.3 else ""
    return f"{person} {told} {end}".rstrip()


def _then(rng: random.Random) -> str:
    """Opening the fridge and drinking milk."""
    first, second = rng.sample(actions(), 2)
    return f"{doing(first)} {rng.choice(('and', 'and then', 'while', 'before', 'after'))} {doing(second)}"


def _crossed(rng: random.Random) -> str:
    """Washing a doll: any verb with any thing, so that a combination nobody listed is understood, too."""
    verb, thing = rng.choice([*lists()["actions"]]), rng.choice(lists()["things"])
    action = f"{verb} {rng.choice(('a', 'the', '', 'something with a'))} {thing}".replace("  ", " ")
    return doing(action) if rng.random() < 0.7 else action


def _scene(rng: random.Random) -> str:
    """Things and rooms without an action."""
    words = lists()
    thing, other, quality = rng.choice(words["things"]), rng.choice(words["things"]), rng.choice(words["qualities"])
    room, person = rng.choice(words["rooms"]), rng.choice(words["people"])
    return rng.choice(
        (thing, f"a {quality} {thing}", f"{quality} {thing}", f"a {quality} {room}", f"a {thing} on the {other}",
         f"a {thing} in the {room}", f"{person} with a {thing}", f"{person} in the {room}", f"{thing} and {other}")
    )  # fmt: skip
