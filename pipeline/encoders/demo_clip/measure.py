"""Zero-shot accuracy and confusion of the demo's CLIP on rendered frames."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.encoders.demo_clip.captions import NAMES, TEMPLATE
from pipeline.encoders.demo_clip.renders import Renders

# CLIP's own normalisation, open_clip's default
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalised(pixels: NDArray[Any]) -> torch.Tensor:
    """(B, S, S, 3) in 0..255 as the tower's input (B, 3, S, S), channels last."""
    scaled = (torch.from_numpy(np.asarray(pixels, np.float32)) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2)


def image_features(model: Any, *, images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, S, S, 3) uint8 RGB -> (N, D) unit rows; leaves the model in eval mode."""
    model.eval()
    rows = []
    with torch.no_grad():
        for start in range(0, len(images), 64):
            rows.append(model.encode_image(normalised(images[start : start + 64]), normalize=True))
    return torch.cat(rows)


def class_features(model: Any, *, tokenizer: Any) -> torch.Tensor:
    """The text embeddings of the classes in the order of NAMES, (C, D) unit rows."""
    model.eval()
    with torch.no_grad():
        prompts = [TEMPLATE.format(name) for name in NAMES.values()]
        texts: torch.Tensor = model.encode_text(tokenizer(prompts), normalize=True)
    return texts


def confusion_matrix(model: Any, *, tokenizer: Any, renders: Renders) -> NDArray[np.int64]:
    """(C, C) counts of zero-shot decisions, truth by row."""
    classes = tuple(NAMES)
    texts = class_features(model, tokenizer=tokenizer)
    chosen = (image_features(model, images=renders.images) @ texts.T).argmax(dim=1).numpy()
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for part, column in zip(renders.parts, chosen, strict=True):
        matrix[classes.index(part), column] += 1
    return matrix


def accuracy_report(model: Any, *, tokenizer: Any, renders: Renders) -> str:
    """Accuracy and confusion matrix as text."""
    matrix = confusion_matrix(model, tokenizer=tokenizer, renders=renders)
    lines = [f"zero-shot accuracy {np.trace(matrix) / matrix.sum():.3f} on {matrix.sum()} frames"]
    for name, row in zip(NAMES, matrix, strict=True):
        lines.append(f"{name:>16} " + " ".join(f"{count:4d}" for count in row))
    return "\n".join(lines)
