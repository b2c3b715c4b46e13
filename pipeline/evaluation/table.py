"""The table of an evaluation as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.protocol import Row

HEADER = ("head", "shots", "accuracy", "SD", "95 % interval", "ECE", "fit s", "us/image")


def as_table(rows: Sequence[Row]) -> str:
    """Aligned columns: accuracy and SD over seeds, Wilson interval of the first seed, mean fit and inference times."""
    lines = [HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.head,
        str(row.shots),
        f"{row.accuracy:.3f}",
        f"{row.sd:.3f}",
        f"{row.low:.3f}-{row.high:.3f}",
        f"{row.ece:.3f}",
        f"{row.fit_seconds:.2f}",
        f"{row.inference_microseconds:.0f}",
    )
