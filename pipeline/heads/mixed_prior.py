"""The prior where only some classes have a text: cosines to texts and to image prototypes on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.heads.deconfusion.head import Prior
from pipeline.heads.simple.prototype import PrototypeHead, fit_prototypes, leave_one_out_cosines
from pipeline.heads.simple.zero_shot import ZeroShotHead, plain_scores, unit_rows
from pipeline.heads.whitening import TINY, Labels
from pipeline.types import Features, Float32Array, Scores

LONE_OWN_COSINE = 0.5  # of the way from the rivals' mean to 1: own cosine where no image of a class can be left out


@dataclass(frozen=True, eq=False)
class MixedPrior:
    """Text logits where a class has a text, mapped image-prototype cosines where it has none.

    The map a * cosine + b makes the mean own-class and rival logits of prototypes those of the texts.
    """

    classes: tuple[str, ...]
    texts: Float32Array  # (C, D), unit rows; zeros where the class has no text
    prototypes: Float32Array  # (C, D), unit rows, centred; zeros where the class has a text
    centre: Float32Array  # (D,)
    offset: Float32Array  # (C,), zero where the class has a text
    scale: float  # tau of the texts
    gain: float  # a, logit units per cosine to a prototype

    @property
    def name(self) -> str:
        """Kind of head."""
        return "mixed_prior"

    @property
    def n_levels(self) -> int:
        """The embedding is enough."""
        return 0

    def score(self, features: Features) -> Scores:
        """(B, D) -> (B, C) logits; no confusion is removed."""
        texts = np.float32(self.scale) * (unit_rows(features.image) @ self.texts.T)
        images = np.float32(self.gain) * (unit_rows(features.image - self.centre) @ self.prototypes.T)
        return plain_scores(texts + images + self.offset, image=features.image, novelty=None)


AnyPrior = Prior | MixedPrior


def has_text(text: ZeroShotHead) -> npt.NDArray[np.bool_]:
    """(C,) which classes have a text vector: one of zeros, or with a NaN, says that there is none."""
    prototypes = text.prototypes
    return np.asarray(np.isfinite(prototypes).all(axis=1) & prototypes.any(axis=1))


def fit_prior(
    image: Float32Array, *, labels: Labels, groups: Labels, classes: tuple[str, ...], text: ZeroShotHead | None
) -> tuple[AnyPrior, Float32Array]:
    """The prior and its logits (N, C) on the rows, leave-one-out where the rows made it.

    `image` (N, D) unit rows; `groups` numbers the source image of each row; a class without text is a row of zeros.
    """
    if text is None or not has_text(text).any():
        return fit_prototypes(image, labels=labels, groups=groups, classes=classes)
    if has_text(text).all():
        return text, text.score(Features(image=image)).logits
    return _mixed(image, labels=labels, groups=groups, text=text)


def _mixed(
    image: Float32Array, *, labels: Labels, groups: Labels, text: ZeroShotHead
) -> tuple[MixedPrior, Float32Array]:
    known = has_text(text)
    texts = np.where(known[:, None], text.prototypes, np.float32(0)).astype(np.float32)
    plain, _ = fit_prototypes(image, labels=labels, groups=groups, classes=text.classes)
    cosines, possible = leave_one_out_cosines(image, labels=labels, groups=groups, n_classes=len(text.classes))
    logits = np.float32(text.scale) * (unit_rows(image) @ texts.T)
    own = np.zeros(logits.shape, bool)
    own[np.arange(labels.size), labels] = True
    text_own, text_rival = _mean(logits, own & known), _mean(logits, ~own & known)
    rival = _mean(cosines, ~own & ~known)
    left_out = own & ~known & possible[:, None]
    mine = _mean(cosines, left_out) if left_out.any() else rival + LONE_OWN_COSINE * (1.0 - rival)
    gain = (text_own - text_rival) / max(mine - rival, TINY) if mine > rival else 0.0
    offset = np.where(known, 0.0, text_rival - gain * rival).astype(np.float32)
    prior = MixedPrior(
        classes=text.classes,
        texts=texts,
        prototypes=np.where(known[:, None], np.float32(0), plain.prototypes).astype(np.float32),
        centre=plain.centre,
        offset=offset,
        scale=text.scale,
        gain=gain,
    )
    return prior, np.where(known, logits, np.float32(gain) * cosines + offset).astype(np.float32)


def _mean(values: Float32Array, chosen: npt.NDArray[np.bool_]) -> float:
    return float(values[chosen].mean(dtype=np.float64)) if chosen.any() else 0.0


def prior_parts(prior: AnyPrior) -> tuple[dict[str, Any], dict[str, Float32Array]]:
    """Settings and tensors of a prior, as a head stores them under `prior`."""
    settings: dict[str, Any] = {"kind": prior.name, "scale": prior.scale}
    if isinstance(prior, MixedPrior):
        settings["gain"] = prior.gain
        names = ["texts", "prototypes", "centre", "offset"]
    else:
        names = ["prototypes", "centre"] if isinstance(prior, PrototypeHead) else ["prototypes"]
    return settings, {f"prior.{name}": getattr(prior, name) for name in names}


def prior_from_parts(
    settings: dict[str, Any], *, tensors: dict[str, Float32Array], classes: tuple[str, ...]
) -> AnyPrior:
    """The prior again."""
    own = {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}
    scale = float(settings["scale"])
    if settings["kind"] == "zero_shot":
        return ZeroShotHead(classes=classes, scale=scale, prototypes=own["prototypes"])
    if settings["kind"] == "prototype":
        return PrototypeHead(classes=classes, scale=scale, prototypes=own["prototypes"], centre=own["centre"])
    return MixedPrior(classes=classes, scale=scale, gain=float(settings["gain"]), **own)
