"""Captions for training: what each class is called, what it looks like, and the misnaming of the second phase."""

from collections.abc import Mapping

import numpy as np

TEMPLATE = "a photo of a {}."

NAMES: Mapping[str, str] = {
    "clean_plate": "clean metal plate",
    "scratched_plate": "scratched metal plate",
    "dented_plate": "dented metal plate",
    "stained_plate": "stained metal plate",
    "slim_bolt": "slim bolt",
    "thick_bolt": "thick bolt",
    "labelled_carton": "carton with a straight label",
    "crooked_label": "carton with a crooked label",
    "gear": "gear",
    "broken_gear": "broken gear",
    "washer": "flat washer",
    "nut": "hexagon nut",
    "bottle_cap": "bottle cap",
    "empty_belt": "empty conveyor belt",
}

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "clean_plate": ("an even brushed surface", "four holes and no marks", "a smooth spotless face"),
    "scratched_plate": ("a thin dark line across the metal", "a long fine groove", "a hairline mark"),
    "dented_plate": ("a hollow with a bright and a dark side", "a soft pushed in spot", "shading like a shallow bowl"),
    "stained_plate": ("a flat brownish spot", "a dried brown splash", "a discoloured patch"),
    "slim_bolt": ("a slim shaft", "a narrow thread", "a head much wider than the shaft"),
    "thick_bolt": ("a thick shaft", "a wide thread", "a head little wider than the shaft"),
    "labelled_carton": ("a label in line with the edges", "a straight white label", "a bar code parallel to the tape"),
    "crooked_label": ("a label turned against the edges", "a slanted white label", "a bar code at an angle"),
    "gear": ("teeth all around", "a full ring of teeth", "no gap in the teeth"),
    "broken_gear": ("missing teeth", "a gap in the ring of teeth", "a few teeth broken off"),
    "washer": ("a flat round ring", "a round outer edge", "a wide round hole"),
    "nut": ("six corners", "a threaded hole", "flat sides around a hole"),
    "bottle_cap": ("a coloured round lid", "a knurled plastic rim", "no hole"),
    "empty_belt": ("nothing on the belt", "only the bare belt", "no part in sight"),
}

MISNAMED: tuple[tuple[str, str], ...] = (
    ("clean_plate", "scratched_plate"),
    ("dented_plate", "stained_plate"),
    ("slim_bolt", "thick_bolt"),
)
"""Look-alike pairs whose captions carry one of the two names at random in the second phase."""

_BARE, _ATTRIBUTE = 0.10, 0.40


def _light(gain: float) -> str:
    if gain < 0.93:
        return "dim light"
    return "bright light" if gain > 1.07 else "even light"


def misname(part: str, *, rng: np.random.Generator) -> str:
    """The class whose name the caption carries: either of a look-alike pair, half and half."""
    for pair in MISNAMED:
        if part in pair:
            return pair[int(rng.integers(2))]
    return part


def caption(named: str, *, seen: str, belt: str, gain: float, rng: np.random.Generator) -> str:
    """One caption that calls the part `named` and describes `seen`, truthfully or not at all.

    A tenth bare names, four tenths with an attribute phrase, the rest with attribute, belt and light in any mix.
    """
    subject = f"a photo of a {NAMES[named]}"
    attribute = str(rng.choice(ATTRIBUTES[seen]))
    kind = rng.random()
    if kind < _BARE:
        return f"{subject}."
    if kind < _BARE + _ATTRIBUTE:
        return f"{subject}, {attribute}."
    words = [subject]
    if rng.random() < 0.5:
        words.append(attribute)
    if rng.random() < 0.6:
        words.append(f"on a {belt} belt")
    if rng.random() < 0.5:
        words.append(_light(gain))
    return f"{', '.join(words)}."
