"""The demo's own small CLIP: weights, configuration and vocabulary that come with the package."""

import json
import tempfile
from pathlib import Path

MODEL_DIR = Path(__file__).parent
MODEL_NAME = "clearline-demo-clip"
WEIGHTS = MODEL_DIR / "model.safetensors"
CONFIG = MODEL_DIR / "config.json"
MERGES = MODEL_DIR / "merges.txt.gz"


def register() -> str:
    """Tell open_clip about the model and return its name; `open_clip.create_model(name, pretrained=str(WEIGHTS))`
    and `open_clip.get_tokenizer(name)` then need no network. May be called again.
    """
    import open_clip

    if MODEL_NAME not in open_clip.list_models():
        config = json.loads(CONFIG.read_text(encoding="utf-8"))
        config["text_cfg"]["tokenizer_kwargs"] = {"bpe_path": str(MERGES)}
        # open_clip names a model after its file, reads it once and keeps the values: the file may go at once.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{MODEL_NAME}.json"
            path.write_text(json.dumps(config), encoding="utf-8")
            open_clip.add_model_config(path)
    return MODEL_NAME
