"""A small real line with adaptation for the tests of its verbs: two heads, a recording, and questions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from typer import Typer
from typer.testing import CliRunner, Result

from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import RunState
from pipeline.adaptation.support.choosing import Choice
from pipeline.adaptation.support.label_queue import LabelQueue, Request
from pipeline.adaptation.support.labels import Stream
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ClearlineError
from pipeline.heads.bundles import registry
from pipeline.simulation.line import SimulatedLine
from pipeline.types import EncoderInfo, Float32Array, FrameRef
from tests.lines import SEED, SIZE, simulated, write_config
from workers.adaptation.files import AdaptationFiles
from workers.commands.demo import render_labelled
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

CLASSES = ("clean_plate", "dented_plate", "scratched_plate")
NOW = 1_700_000_000.0
SHORT = {"advisory_parts": 600, "active_parts": 1_000, "mix_active_parts": 2_000, "correlation_times": 1.0}
EPOCH = 7


@dataclass(frozen=True, eq=False)
class Home:
    """A folder with a configuration, labelled pictures and two versions of a head; the second is live."""

    folder: Path
    encoder: EncoderBundle

    @property
    def path(self) -> Path:
        return self.folder / "line.yaml"

    @property
    def config(self) -> LineConfig:
        return load_config(self.path)

    @property
    def files(self) -> AdaptationFiles:
        return AdaptationFiles(self.folder / "adaptation")

    @property
    def heads(self) -> Path:
        return self.folder / "heads" / "demo"

    @property
    def info(self) -> EncoderInfo:
        return self.encoder.image.info

    def run(self, app: Typer, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--config", str(self.path)])

    def said(self, app: Typer, *words: str, exit_code: int = 0) -> Any:
        result = self.run(app, *words, "--json")
        assert result.exit_code == exit_code, (result.output, result.exception)
        return orjson.loads(result.stdout)

    def refused(self, app: Typer, *words: str) -> str:
        result = self.run(app, *words)
        assert isinstance(result.exception, ClearlineError), (result.output, result.exception)
        return str(result.exception)

    def stand(self, **changes: Any) -> RunState:
        """Write the journal as a line would have left it."""
        state = RunState("demo", champion=2, entered_at=NOW, last_at=NOW, **changes)
        Journal(self.files.state).write(state)
        return state

    def rows(self, n: int, *, seed: int = 0) -> tuple[Float32Array, list[int]]:
        """(n, D) embeddings near those of the labelled pictures, and the class of each."""
        support = registry.load(self.heads, encoder=self.info, version=1).evidence.support
        assert support is not None
        rng = np.random.default_rng(seed)
        picked = rng.integers(0, len(support.image), size=n)
        rows = support.image[picked] + 0.02 * rng.normal(size=(n, self.info.embedding_dim)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True), support.labels[picked].tolist()

    def record(self, n: int, *, source: str = "cap-01", seed: int = 0, first: int = 0) -> list[tuple[str, str]]:
        """n frames of a camera in the recording; (event id, true class) of each."""
        rows, labels = self.rows(n, seed=seed)
        refs = [FrameRef(source, EPOCH, first + i, "full", NOW + first + i, "host", received_at=0.0) for i in range(n)]
        recording = EmbeddingRecording(self.files.recording, encoder=self.info)
        recording.append(
            refs,
            embeddings=rows,
            labels=np.asarray(labels),
            confidences=np.full(n, 0.9, np.float32),
            head_version=2,
            at=NOW + first + n,
        )
        recording.close()
        return [(ref.event_id, CLASSES[label]) for ref, label in zip(refs, labels, strict=True)]

    def ask(self, event_ids: list[str], *, at: float, stream: Stream = Stream.TEACH) -> None:
        with SupportStore(self.files.support, encoder=self.info) as store:
            requests = [Request(Choice(one, stream, "random", 0.5), model_label="clean_plate") for one in event_ids]
            LabelQueue(store.database).ask(requests, at=at)


def make_home(folder: Path, *, fitted: int = 2) -> Home:
    """Opens the shipped encoder, renders four pictures a class and fits so many versions."""
    line = SimulatedLine(SEED, **SIZE)
    for class_id in CLASSES:
        render_labelled([line], class_id=class_id, n=4, folder=folder / "labelled")
    path = write_config(
        folder,
        sources=[simulated(1)],
        batching={"sizes": [4]},
        head={"kind": "gda", "registry": str(folder / "heads"), "cache": str(folder / "cache")},
        decision={"good_classes": ["clean_plate"], "review_below": 0.0, "unknown_novelty": None},
        adaptation={"folder": str(folder / "adaptation"), "drift": SHORT},
    )
    home = Home(folder, open_encoder(load_config(path)))
    for n in range(fitted):
        fit_folder(folder / "labelled", config=home.config, shots=3 + n, encoder=home.encoder)
    return home
