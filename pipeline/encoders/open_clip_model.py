"""Loads an open_clip model with the weights that were asked for, and refuses to load one without."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pipeline.errors import EncoderError

DEMO_CLIP = "demo_clip"
_libraries: list[torch.library.Library] = []  # an operator lives as long as the library object that declares it


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An open_clip model on the host: fp32, frozen, in eval mode, its image tower in channels-last memory."""

    module: torch.nn.Module
    name: str  # what EncoderInfo calls it
    open_clip_name: str  # what open_clip's own factories call it
    sha256: str  # of all weights, both towers
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str
    interpolation: str


def load_open_clip(
    model: str,
    *,
    pretrained: str | None = None,
    checkpoint: Path | None = None,
    random_weights_seed: int | None = None,
) -> LoadedModel:
    """Load `model` with a pretrained tag, a local checkpoint, or, for benchmarks only, seeded random weights.

    `demo_clip` is the model that comes with the package; `hf-hub:` and `local-dir:` names bring their own weights.
    Raises EncoderError when no weights are named: open_clip itself would go on with random ones.
    """
    open_clip = import_open_clip()
    brings_weights = model == DEMO_CLIP or ":" in model
    named = [value for value in (pretrained, checkpoint, random_weights_seed) if value is not None]
    if len(named) != (0 if brings_weights else 1):
        wanted = "no weights to be named, it has its own" if brings_weights else "exactly one source of weights"
        raise EncoderError(
            f"encoder {model}: expected {wanted}, got pretrained={pretrained!r}, checkpoint={checkpoint}, "
            f"random_weights_seed={random_weights_seed}; `open_clip.list_pretrained()` lists the tags"
        )
    if checkpoint is not None and not checkpoint.is_file():
        raise EncoderError(f"encoder {model}: checkpoint must be a file, got {checkpoint}")
    name, open_clip_name, source = _names(model, pretrained=pretrained, checkpoint=checkpoint, seed=random_weights_seed)
    module = _create(open_clip, open_clip_name, source=source, seed=random_weights_seed)
    preprocessing = _preprocessing(open_clip, module, name=name)
    return LoadedModel(
        module=module,
        name=name,
        open_clip_name=open_clip_name,
        sha256=state_sha256(module),
        **preprocessing,
    )


def import_open_clip() -> ModuleType:
    """Import open_clip; declares two operators first where torch and torchvision come from different builds."""
    try:
        import open_clip
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch has none here
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _libraries.append(library)
        import open_clip
    return open_clip  # type: ignore[no-any-return]  # open_clip has no types


def state_sha256(module: torch.nn.Module) -> str:
    """Hash of names, types, shapes and bytes of the state, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _names(model: str, *, pretrained: str | None, checkpoint: Path | None, seed: int | None) -> tuple[str, str, str]:
    """(our name, open_clip's name, where the weights are)."""
    if model == DEMO_CLIP:
        from pipeline.encoders import demo_clip

        if not demo_clip.WEIGHTS.is_file():
            raise EncoderError(f"encoder {model}: weights are missing from the package, expected {demo_clip.WEIGHTS}")
        return DEMO_CLIP, demo_clip.register(), str(demo_clip.WEIGHTS)
    if checkpoint is not None:
        return f"{model}/{checkpoint.stem}", model, str(checkpoint)
    if seed is not None:
        return f"{model}/random-{seed}", model, ""
    return (f"{model}/{pretrained}" if pretrained else model), model, pretrained or ""


def _create(open_clip: ModuleType, name: str, *, source: str, seed: int | None) -> torch.nn.Module:
    """The module, frozen. The global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        try:
            module: torch.nn.Module = open_clip.create_model(
                name, pretrained=source or None, require_pretrained=seed is None, precision="fp32", device="cpu"
            )
        except Exception as error:  # whatever open_clip, torch or safetensors says about a name or a file
            raise EncoderError(f"encoder {name}: cannot load weights {source or 'by name'}: {error}") from error
    module.visual.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return module.eval().requires_grad_(requires_grad=False)


def _preprocessing(open_clip: ModuleType, module: torch.nn.Module, *, name: str) -> dict[str, Any]:
    """What open_clip's own transform for this model does, as the fields of LoadedModel."""
    config = open_clip.get_model_preprocess_cfg(module)
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise EncoderError(f"encoder {name}: expected a square input, got {height} x {width}")
    if config["resize_mode"] not in ("shortest", "squash"):
        raise EncoderError(f"encoder {name}: resize mode must be shortest or squash, got {config['resize_mode']!r}")
    return {
        "image_size": height,
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "resize_mode": config["resize_mode"],
        # open_clip takes bicubic at inference for "random".
        "interpolation": "bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    }
