"""Class vectors from a text dictionary: one unit prototype per class."""

from __future__ import annotations

import numpy as np

from pipeline.heads.simple.zero_shot import ZeroShotHead, class_prototypes
from pipeline.interfaces import TextEncoder
from pipeline.texts.dictionary import TextDictionary


def build_zero_shot(dictionary: TextDictionary, *, encoder: TextEncoder) -> ZeroShotHead:
    """Encode the name of every class in every template and average (CLIP, Radford et al., 2021). Blocks.

    Each prompt embedding is made unit, then the mean over templates is made unit again.
    """
    prompts = [prompt for class_id in dictionary.class_ids for prompt in dictionary.prompts(class_id)]
    rows = np.asarray(encoder.encode_texts(prompts), dtype=np.float32)
    by_class = rows.reshape(len(dictionary.classes), len(dictionary.templates), -1)  # (C, templates, D)
    return ZeroShotHead(
        classes=dictionary.class_ids, prototypes=class_prototypes(by_class), scale=float(encoder.logit_scale)
    )
