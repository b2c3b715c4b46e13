"""What a chat model is asked for, one request per class and kind of text, and how its answer is read.

The questions of CODER's text generator (Yi et al., CVPR 2024), each with one worked example, in our own words.
"""

from __future__ import annotations

import re

from pipeline.texts.entries import TextKind

MAX_PHRASES = 20  # of one answer; more is a model that did not stop
MAX_LENGTH = 120  # characters; longer is a paragraph, not a phrase
_BULLET = re.compile(r"^\s*(?:[-*•–]|\d{1,2}[.)])\s+(.*\S)\s*$")

SYSTEM = (
    "You help to tell classes of parts apart in camera pictures of a production line. Answer with a list only: one "
    "short English phrase per line, each line starting with '- '. Name only what can be seen in a single picture: "
    "shape, colour, surface, position. No sounds, smells, uses, causes or materials that cannot be seen."
)

ATTRIBUTE = """Which visible features tell this thing in a picture?

Example: a bumblebee
- a round furry body
- broad yellow and black bands
- two pairs of small clear wings
- a white tip at the rear

Now the same for: {name}"""

ANALOGOUS = """Which other things look much like this one in a picture?

Example: a cauliflower
- a white cloud
- a bridal bouquet
- a coral
- a human brain

Now the same for: {name}"""

SYNONYM = """By which other names is this thing known?

Example: a spanner
- a wrench
- an open-ended wrench

Now the same for: {name}"""

ONE_TO_ONE = """What can be seen on the first thing and not on the second? List every difference that matters.

Example: a lake, not a river
- a closed shore all around
- still water without a direction
- a broad round outline

Now the same for: {name}, not {rival}"""

REPLACE = """These answers describe other classes of the same line and cannot be used:
{rejected}

Give {n} other answers instead, and only those."""

_QUESTIONS = {
    TextKind.ATTRIBUTE: ATTRIBUTE,
    TextKind.ANALOGOUS: ANALOGOUS,
    TextKind.SYNONYM: SYNONYM,
    TextKind.ONE_TO_ONE: ONE_TO_ONE,
}


def question(kind: TextKind, *, name: str, rival: str | None = None) -> str:
    """The request for one class; `rival` for one-to-one texts."""
    return _QUESTIONS[kind].format(name=name, rival=rival)


def replacement(rejected: tuple[str, ...]) -> str:
    """The follow-up that names what was rejected."""
    listed = "\n".join(f"- {phrase}" for phrase in rejected)
    return REPLACE.format(rejected=listed, n=len(rejected))


def phrases_in(answer: str) -> tuple[str, ...]:
    """List items of an answer, each once, without the full stop; everything else is talk."""
    found: dict[str, str] = {}
    for line in answer.splitlines():
        match = _BULLET.match(line)
        if match is None:
            continue
        phrase = match.group(1).strip(" .;\"'*")
        if phrase and len(phrase) <= MAX_LENGTH and not any(ch in phrase for ch in "{}"):
            found.setdefault(phrase.casefold(), phrase)
    return tuple(found.values())[:MAX_PHRASES]
