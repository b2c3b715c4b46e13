"""The picture of `clearline drift demo`, from a run made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from workers.commands.drift_demo_picture import BELOW, COLOURS, GOOD, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Mark, Run, draw

N = 10_000
READINGS = tuple((n, (0.2, 0.3, 0.4, 0.5, 0.6)) for n in (*range(1_000, 4_000, 100), *range(8_000, 10_000, 100)))
RUN = Run(
    right=tuple([True] * 4_000 + [n % 5 > 0 for n in range(3_000)] + [True] * 3_000),
    ratios=READINGS,
    marks=(Mark(0, "healthy"), Mark(4_000, "blur"), Mark(9_990, "a very long name at the right edge")),
    alarm_at=4_400,
    accuracies=(1.0, 0.8, 1.0),
)


def drawn(run: Run = RUN) -> npt.NDArray[np.uint8]:
    return np.asarray(draw(run))


def where(picture: npt.NDArray[np.uint8], colour: tuple[int, int, int], rows: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Columns, between those rows, that hold that colour."""
    return np.flatnonzero((picture[rows[0] : rows[1]] == colour).all(axis=2).any(axis=0))


def test_it_shows_accuracy_from_the_first_part_to_the_last() -> None:
    picture = drawn()
    assert picture.shape == (HEIGHT, WIDTH, 3)
    columns = where(picture, GOOD, TOP)
    assert columns.min() < LEFT + 40
    assert columns.max() > RIGHT - 10


def test_a_fall_of_the_accuracy_is_lower_in_the_picture() -> None:
    picture = drawn()

    def height(column: int) -> float:
        return float(np.flatnonzero((picture[TOP[0] : TOP[1], column] == GOOD).all(axis=1)).mean())

    assert height(LEFT + (RIGHT - LEFT) * 55 // 100) > height(LEFT + (RIGHT - LEFT) * 30 // 100) + 50


def test_charts_are_not_drawn_where_nothing_was_charted() -> None:
    columns = where(drawn(), COLOURS[0], BELOW)
    share = (columns - LEFT) / (RIGHT - LEFT)
    assert not ((share > 0.42) & (share < 0.78)).any()
    assert ((share > 0.82) & (share < 0.99)).any()


def test_a_name_at_the_edge_stays_inside_and_a_run_without_charts_can_be_drawn() -> None:
    assert (drawn()[:, -6:] == 255).all()
    assert drawn(replace(RUN, ratios=(), alarm_at=None)).shape == (HEIGHT, WIDTH, 3)
