"""Frames become parts: every frame in exactly one part or late, every part once, in the order of the camera."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.parts import Assembler, Member, Part
from tests.pipeline.parts.making_parts import RULE, member


@dataclass
class Bench:
    """An assembler that is fed by hand."""

    rule = RULE
    assembler: Assembler = field(default_factory=Assembler)
    parts: list[Part] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    n: int = 0

    def add(self, *ids: str | None, at: float = 0.0, **more: str) -> None:
        for part in ids:
            closed, taken = self.assembler.add(member(self.n, part=part, at=at, **more), rule=self.rule)
            self.parts += closed
            self.late += [] if taken else [self.n]
            self.n += 1

    @property
    def made(self) -> list[tuple[str, list[int]]]:
        """How each part closed, and its frames."""
        return [(one.closed_by, [frame.ref.sequence for frame in one.members]) for one in self.parts]


def test_a_part_closes_when_it_has_all_its_frames() -> None:
    bench = Bench()
    bench.add("a", "a", "a")
    assert bench.made == [("full", [0, 1, 2])]
    assert bench.assembler.n_open == 0


def test_a_part_closes_when_the_next_one_begins() -> None:
    bench = Bench()
    bench.add("a", "a", "b")
    assert bench.made == [("next", [0, 1])]


def test_a_late_frame_is_taken_by_no_part_and_closes_none() -> None:
    bench = Bench()
    bench.add("a", "b", "a", "b", "a")
    bench.parts += bench.assembler.drain()
    assert bench.made == [("next", [0]), ("drain", [1, 3])]
    assert bench.late == [2, 4]


def test_more_frames_than_a_part_may_have_are_late() -> None:
    bench = Bench()
    bench.add(*"aaaaa")
    assert bench.made == [("full", [0, 1, 2])]
    assert bench.late == [3, 4]


def test_a_frame_without_an_id_is_a_part_of_its_own_and_keeps_its_place() -> None:
    bench = Bench()
    bench.add("a", None, None, "b")
    assert bench.made == [("next", [0]), ("full", [1]), ("full", [2])]


def test_regions_and_cameras_have_parts_of_their_own() -> None:
    bench = Bench()
    bench.add("a", roi="left")
    bench.add("a", roi="right")
    bench.add("b", camera="cap-02")
    assert bench.assembler.n_open == 3
    assert bench.parts == []


def test_a_deadline_closes_a_part_only_when_nothing_of_its_source_is_under_way() -> None:
    bench = Bench()
    bench.add("a")
    assert bench.assembler.next_due_at() == 1001.0
    assert bench.assembler.due(1000.9, quiet=lambda source: True) == []
    assert bench.assembler.due(1005.0, quiet=lambda source: source != "cap-01") == []
    bench.parts += bench.assembler.due(1005.0, quiet=lambda source: True)
    assert bench.made == [("deadline", [0])]
    assert bench.assembler.next_due_at() is None


def test_a_frame_received_in_time_belongs_however_late_it_is_encoded() -> None:
    bench = Bench()
    bench.add("a", at=0.0)
    bench.add("a", at=1.0)
    bench.add("a", at=1.1)
    assert bench.made == [("deadline", [0, 1])]
    assert bench.late == [2]


def test_a_later_frame_of_another_camera_on_the_same_topic_shows_that_the_time_is_over() -> None:
    bench = Bench()
    bench.add("a", at=0.0, carrier="frames")
    bench.add("z", at=5.0, camera="cap-02")
    assert bench.parts == []  # another source, with a queue of its own
    bench.add("z", at=5.0, camera="cap-03", carrier="frames")
    assert bench.made == [("deadline", [0])]


def test_a_window_takes_what_was_taken_soon_after_its_first_frame() -> None:
    bench = Bench()
    bench.rule = replace(RULE, window_s=0.1, close_after_s=10.0)
    for at in (0.0, 0.1, 0.2, 0.25, 0.5):
        bench.add(None, at=at)
    bench.parts += bench.assembler.drain()
    assert bench.made == [("next", [0, 1]), ("next", [2, 3]), ("drain", [4])]
    assert [one.members[0].ref.part for one in bench.parts] == ["1-0", "1-2", "1-4"]
    assert {frame.ref.part for frame in bench.parts[0].members} == {"1-0"}


def test_a_full_window_is_not_begun_a_second_time() -> None:
    bench = Bench()
    bench.rule = replace(RULE, window_s=1.0, close_after_s=10.0)
    for at in (0.0, 0.1, 0.2, 0.3, 1.5):
        bench.add(None, at=at)
    assert bench.made == [("full", [0, 1, 2])]
    assert bench.late == [3]


def test_only_the_first_picture_of_a_part_is_kept() -> None:
    bench = Bench()
    bench.add("a", "a", "a")
    assert [frame.pixels is not None for frame in bench.parts[0].members] == [True, False, False]


def test_cameras_without_end_cannot_fill_the_memory() -> None:
    bench = Bench()
    for n in range(4100):
        bench.add("a", camera=f"cap-{n}")
    assert bench.assembler.n_open == 4096
    assert bench.made[0] == ("crowded", [0])


def test_a_source_that_is_set_back_has_its_parts_made_anew() -> None:
    bench = Bench()
    bench.add("a", "a", "b", "b", "c")  # 0 to 4; "c" is open
    bench.n = 2  # the partition came back at the first frame of "b"
    bench.add("b", "b", "c", "b")
    bench.parts += bench.assembler.drain()
    assert bench.made == [
        ("next", [0, 1]),
        ("next", [2, 3]),
        ("rewound", [4]),
        ("next", [2, 3]),
        ("drain", [4]),
    ]
    assert bench.late == [5]


def test_a_frame_that_is_read_again_is_no_second_witness() -> None:
    bench = Bench()
    bench.add("a")
    bench.n = 0
    bench.add("a", "a")
    bench.parts += bench.assembler.drain()
    assert bench.made == [("rewound", [0]), ("drain", [0, 1])]


frames = st.tuples(
    st.sampled_from(["cap-01", "cap-02"]),
    st.sampled_from(["left", "right"]),
    st.sampled_from(["a", "b", "c", "d", None]),
    st.floats(0.0, 0.7),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(frames, max_size=60), st.sampled_from([None, 0.4]))
def test_any_interleaving_gives_every_frame_one_end_and_every_part_one_decision(
    fed: list[tuple[str, str, str | None, float, bool]], window_s: float | None
) -> None:
    assembler, rule, now = Assembler(), replace(RULE, window_s=window_s), 0.0
    parts: list[Part] = []
    taken: list[Member] = []
    late = 0
    for n, (camera, roi, part, pause, looks) in enumerate(fed):
        now += pause
        one = member(n, part=part, camera=camera, roi=roi, at=now)
        closed, is_taken = assembler.add(one, rule=rule)
        parts += closed
        taken += [one] if is_taken else []
        late += not is_taken
        if looks:
            parts += assembler.due(1000.0 + now, quiet=lambda source: True)
    parts += assembler.drain()
    ended = [frame.ref.event_id for one in parts for frame in one.members]
    assert sorted(ended) == sorted(one.ref.event_id for one in taken)  # conservation: none lost, none twice
    assert len(ended) + late == len(fed)
    decisions = Counter((f.ref.source_id, f.ref.roi_id, f.ref.part) for f in (one.members[0] for one in parts))
    assert all(n == 1 for (_, _, part), n in decisions.items() if part is not None)
    places = {(f.ref.source_id, f.ref.roi_id) for one in parts for f in one.members}
    for place in places:  # order: the frames of a place come out as they went in
        own = [f.ref.sequence for p in parts for f in p.members if (f.ref.source_id, f.ref.roi_id) == place]
        assert own == sorted(own)
    assert all(1 <= len(one.members) <= rule.max_frames for one in parts)
    assert all(len({f.ref.part for f in one.members}) == 1 for one in parts)
