"""Loading: only with weights, with the same identity every time, and where torchvision is broken too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.encoders.open_clip_model import load_open_clip, state_sha256
from pipeline.errors import EncoderError
from tests.tiny_models import SEED, SHALLOW, loaded, register


def save(path: Path, *, change: bool = False) -> Path:
    state = {name: tensor.contiguous().clone() for name, tensor in loaded(SHALLOW).module.state_dict().items()}
    if change:
        state["visual.proj"][0, 0] += 1e-6
    save_file(state, path)
    return path


def test_a_name_without_weights_is_refused() -> None:
    with pytest.raises(EncoderError, match="exactly one source of weights"):
        load_open_clip(register(SHALLOW))


def test_two_sources_of_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="exactly one source of weights"):
        load_open_clip(register(SHALLOW), checkpoint=save(tmp_path / "a.safetensors"), random_weights_seed=0)


def test_the_packaged_model_takes_no_other_weights() -> None:
    with pytest.raises(EncoderError, match="it has its own"):
        load_open_clip("demo_clip", pretrained="openai")


def test_an_unknown_tag_or_model_says_which() -> None:
    with pytest.raises(EncoderError, match="no_such_tag"):
        load_open_clip(register(SHALLOW), pretrained="no_such_tag")
    with pytest.raises(EncoderError, match="no-such-model"):
        load_open_clip("no-such-model", random_weights_seed=0)


def test_a_checkpoint_gives_the_weights_it_was_saved_from(tmp_path: Path) -> None:
    again = load_open_clip(register(SHALLOW), checkpoint=save(tmp_path / "line4.safetensors"))
    assert again.sha256 == loaded(SHALLOW).sha256
    assert again.name == f"{SHALLOW}/line4"


def test_one_changed_weight_changes_the_identity(tmp_path: Path) -> None:
    other = load_open_clip(register(SHALLOW), checkpoint=save(tmp_path / "a.safetensors", change=True))
    assert other.sha256 != loaded(SHALLOW).sha256


def test_a_missing_or_truncated_checkpoint_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"must be a file, got .*gone\.pt"):
        load_open_clip(register(SHALLOW), checkpoint=tmp_path / "gone.pt")
    path = save(tmp_path / "cut.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EncoderError, match=r"cannot load weights .*cut\.safetensors"):
        load_open_clip(register(SHALLOW), checkpoint=path)


def test_random_weights_come_from_their_seed_and_leave_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    assert load_open_clip(register(SHALLOW), random_weights_seed=SEED).sha256 == loaded(SHALLOW).sha256
    assert load_open_clip(register(SHALLOW), random_weights_seed=SEED + 1).sha256 != loaded(SHALLOW).sha256
    assert torch.equal(torch.get_rng_state(), state)


def test_the_hash_knows_names_types_shapes_and_values() -> None:
    def digest(**tensors: torch.Tensor) -> str:
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return state_sha256(module)

    first = digest(a=torch.zeros(4), b=torch.ones(2))
    assert digest(b=torch.ones(2), a=torch.zeros(4)) == first
    others = {digest(a=torch.zeros(4), c=torch.ones(2)), digest(a=torch.zeros(2, 2), b=torch.ones(2))}
    others |= {digest(a=torch.zeros(4), b=torch.zeros(2)), digest(a=torch.zeros(4, dtype=torch.int32), b=torch.ones(2))}
    assert len(others | {first}) == 5


BROKEN_TORCHVISION = """
import torch
load = torch.ops.load_library
def refuse(path):  # as where torch is a CPU build and torchvision is not
    if "torchvision" in str(path):
        raise OSError("undefined symbol")
    load(path)
torch.ops.load_library = refuse
try:
    import torchvision
except RuntimeError as error:
    print(error)
from pipeline.encoders.open_clip_model import import_open_clip
print(len(import_open_clip().list_models()) > 100)
"""


def test_open_clip_is_imported_even_where_torchvision_lacks_its_operators() -> None:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", BROKEN_TORCHVISION]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["operator torchvision::nms does not exist", "True"], done.stderr
