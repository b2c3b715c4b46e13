"""Where adaptation keeps what: one folder beside the line, for `clearline run` and for commands in other processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class AdaptationFiles:
    """Names under `adaptation.folder`; nothing is created by naming it."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held by whoever may change state and audit log, see `adaptation_lock`."""
        return self.folder / "lock"

    @property
    def recording(self) -> Path:
        """Folder: embeddings of all parts, an `EmbeddingRecording`."""
        return self.folder / "recording"

    @property
    def pictures(self) -> Path:
        """Folder: pictures of parts that people may be asked about."""
        return self.folder / "pictures"

    @property
    def support(self) -> Path:
        """SQLite: exemplars, labels and questions; a `SupportStore` and a `LabelQueue` on it."""
        return self.folder / "support.sqlite"

    @property
    def references(self) -> Path:
        """Folder: one drift profile per context, named by `profile_file.reference_path`."""
        return self.folder / "references"

    @property
    def state(self) -> Path:
        """The journal of the life cycle."""
        return self.folder / "state.json"

    @property
    def normal(self) -> Path:
        """Since when the line is what it is now, see `adaptation.references.normal_of`."""
        return self.folder / "normal.json"

    @property
    def safe(self) -> Path:
        """Whether lines in other processes widen their review band, see `adaptation.live_file`."""
        return self.folder / "safe.json"

    @property
    def audit(self) -> Path:
        """The chain of who changed what."""
        return self.folder / "audit.jsonl"

    @property
    def commands(self) -> Path:
        """Folder: one file per request to the running line."""
        return self.folder / "commands"

    @property
    def gates(self) -> Path:
        """Folder: one gate report per run."""
        return self.folder / "gates"

    @property
    def snapshots(self) -> Path:
        """Folder: what heads were fitted on, each file named by its SHA-256."""
        return self.folder / "snapshots"

    def gate(self, run: str) -> Path:
        """The gate report of a run, `GateReport.to_json()`."""
        return self.gates / f"{run}.json"

    def snapshot(self, sha256: str) -> Path:
        """The support set with this hash, as `SupportStore.snapshot` writes it."""
        return self.snapshots / f"{sha256}.safetensors"

    def pool(self, sha256: str) -> Path:
        """Unlabelled rows (M, D) in fp16, as `numpy.save` writes them; the hash is `recipe.rows_sha256`."""
        return self.snapshots / f"pool-{sha256}.npy"
