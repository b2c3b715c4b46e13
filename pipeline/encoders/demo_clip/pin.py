"""Writes the golden values of the packaged weights, after new weights came: `python -m` this module."""

from __future__ import annotations

from pipeline.encoders import golden
from pipeline.encoders.demo_clip import MODEL_DIR
from pipeline.encoders.open_clip_encoder import make_tower
from pipeline.encoders.open_clip_model import DEMO_CLIP, load_open_clip


def main() -> None:
    """Encode the golden pictures with the packaged weights and keep what came out beside them."""
    loaded = load_open_clip(DEMO_CLIP)
    tower = make_tower(loaded, device="cpu", precision="fp32", n_levels=0)
    expected = golden.expected_features(tower, side=loaded.image_size)
    golden.write_stored(MODEL_DIR / golden.STORED_NAME, expected=expected, sha256=loaded.sha256)


if __name__ == "__main__":
    main()
