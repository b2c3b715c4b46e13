"""A text comes or goes in a running head: class vectors, Gram matrix and bank follow, no image is encoded again.

The edited head is a new value; saving it makes the next version of the bundle.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pipeline.errors import DataError
from pipeline.heads.coder.coding import FloatArray, Kind, TextRows, code, unit
from pipeline.heads.coder.gram import (
    gram_with,
    gram_without,
    sums_with,
    sums_with_name,
    sums_without,
    sums_without_name,
)
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead


def with_text(
    head: CoderHead,
    *,
    vector: FloatArray,
    class_id: str,
    kind: Kind,
    sentence: str,
    image: FloatArray | None = None,
) -> CoderHead:
    """One text (D,) more, after those of its class and kind: O(D) beside the copies.

    `image` (n, D), cached features of the support set, gives its mean code where the head has one.
    """
    c, before = _class_index(head, class_id=class_id), head.texts
    t = unit(vector[None, :])[0].astype(before.vectors.dtype)
    position = before.class_of * len(Kind) + before.kind_of
    at = int(np.searchsorted(position, c * len(Kind) + int(kind), side="right"))
    texts = TextRows(
        np.insert(before.vectors, at, t, axis=0),
        np.insert(before.class_of, at, c),
        np.insert(before.kind_of, at, int(kind)),
        before.n_classes,
    )
    n_names = int((before.kind_of[:at] >= Kind.NAME).sum())
    if kind >= Kind.NAME:
        sums = sums_with_name(head.sums, text=t, class_index=c, at=n_names)
    else:
        sums = sums_with(head.sums, text=t, class_index=c)
    return dataclasses.replace(
        head,
        texts=texts,
        weights=_weights_with(head, at=at, class_index=c, kind=kind),
        sums=sums,
        sentences=(*head.sentences[:at], sentence, *head.sentences[at:]) if head.sentences else (),
        mean_code=_mean_code_with(head, vector=t, at=at, image=image),
    )


def without_text(head: CoderHead, *, row: int) -> CoderHead:
    """One text fewer, by its row in the bank: O(D) beside the copies; the voters left keep their proportions.

    Raises DataError for the last name of a class.
    """
    before, weight = head.texts, float(head.weights[row])
    c, kind = int(before.class_of[row]), Kind(int(before.kind_of[row]))
    weights = head.weights.copy()
    if kind >= Kind.NAME:
        sums = sums_without_name(head.sums, at=int((before.kind_of[:row] >= Kind.NAME).sum()))
    else:
        sums = sums_without(head.sums, text=before.vectors[row], class_index=c, weight=weight)
        weights[before.class_of == c] /= 1.0 - weight
    keep = np.arange(len(before.vectors)) != row
    return dataclasses.replace(
        head,
        texts=TextRows(before.vectors[keep], before.class_of[keep], before.kind_of[keep], before.n_classes),
        weights=weights[keep],
        sums=sums,
        sentences=(*head.sentences[:row], *head.sentences[row + 1 :]),
        mean_code=None if head.mean_code is None else head.mean_code[keep],
    )


def adapter_with_text(
    head: CoderAdapterHead, *, vector: FloatArray, class_id: str, kind: Kind, sentence: str
) -> CoderAdapterHead:
    """The same for an adapter whose prior holds the whole bank: the Gram matrix by rank one, O(D^2)."""
    _require_one_bank(head)
    prior = with_text(head.prior, vector=vector, class_id=class_id, kind=kind, sentence=sentence, image=head.key_image)
    text = unit(vector[None, :].astype(head.gram.gram.dtype))[0]
    return dataclasses.replace(head, prior=prior, gram=gram_with(head.gram, text=text))


def adapter_without_text(head: CoderAdapterHead, *, row: int) -> CoderAdapterHead:
    """The same for an adapter whose prior holds the whole bank: the Gram matrix by rank one, O(D^2)."""
    _require_one_bank(head)
    text = head.prior.texts.vectors[row].astype(head.gram.gram.dtype)
    prior = without_text(head.prior, row=row)
    return dataclasses.replace(head, prior=prior, gram=gram_without(head.gram, text=text))


def _require_one_bank(head: CoderAdapterHead) -> None:
    if head.gram.count != len(head.prior.texts.vectors):
        raise DataError(
            f"coder adapter: expected the {head.gram.count} texts of its bank in its prior, got "
            f"{len(head.prior.texts.vectors)}; only the corrected form can be edited"
        )


def _class_index(head: CoderHead, *, class_id: str) -> int:
    if class_id not in head.classes:
        raise DataError(f"coder head: expected one of {', '.join(head.classes)}, got class {class_id}")
    return head.classes.index(class_id)


def _weights_with(head: CoderHead, *, at: int, class_index: int, kind: Kind) -> FloatArray:
    """A described text takes an equal share from the others; a name has the weight of its class's name."""
    if kind >= Kind.NAME:
        return np.insert(head.weights, at, head.sums.naming_weight[class_index])
    share = 1.0 / (int(head.sums.n_voters[class_index]) + 1)
    weights = np.where(head.texts.class_of == class_index, head.weights * (1.0 - share), head.weights)
    return np.insert(weights.astype(head.weights.dtype), at, share)


def _mean_code_with(head: CoderHead, *, vector: FloatArray, at: int, image: FloatArray | None) -> FloatArray | None:
    if head.mean_code is None:
        return None
    if image is None:
        raise DataError("coder head: expected the features of the support set for the new text's mean code, got none")
    mean = code(image, bank=vector[None, :]).mean()
    return np.insert(head.mean_code, at, mean)
