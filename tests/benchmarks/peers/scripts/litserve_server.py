"""LitServe with its own batching: base64 JPEG in JSON, as its documentation shows for images; one worker."""

import base64
import io
import sys

import litserve
import torch
from measuring import SIDE, encode
from PIL import Image

MAX_BATCH = 16  # the largest batch of Clearline's ladder on a CPU
BATCH_TIMEOUT_S = 0.02  # Clearline's batch deadline


class SleepingClip(litserve.LitAPI):
    """Decode and transform per request, stack, one call of the encoder per batch."""

    def setup(self, device: str) -> None:
        from open_clip import image_transform

        torch.set_num_threads(1)
        self.transform = image_transform(SIDE, is_train=False)

    def decode_request(self, request: dict) -> torch.Tensor:
        data = base64.b64decode(request["image_bytes"])
        return self.transform(Image.open(io.BytesIO(data)).convert("RGB"))

    def batch(self, inputs: list) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, batch: torch.Tensor) -> list:
        return encode(len(batch))

    def unbatch(self, output: list) -> list:
        return output

    def encode_response(self, output: int) -> dict:
        return {"label": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        SleepingClip(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S), accelerator="cpu", workers_per_device=1
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
