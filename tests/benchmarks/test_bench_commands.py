"""The benchmarks run and count right; how fast anything is belongs in the README, never in an assertion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pipeline.encoders.ladder import BatchCost
from pipeline.errors import SourceExhausted
from tests.benchmarks.peers import contestants
from tests.benchmarks.peers.environments import PEERS, PeerUnavailable, bench_dir, python_of
from tests.benchmarks.peers.processes import tree_cpu_s
from tests.benchmarks.peers.scripts import measuring
from tests.fakes import FakeClock, FakePipelinedEncoder
from workers.bench import host_cost, material
from workers.bench.feeds import START_DELAY_S, MemorySource, even_gaps, poisson_gaps
from workers.bench.latency import Arrival, busy_before, waits
from workers.bench.memory import N_BLOCKS, slope_mb_per_1000
from workers.bench.rig import Plan, run_line
from workers.bench.stages import Window
from workers.commands.bench import NAMES, bench

IMAGE = np.zeros((8, 8, 3), np.uint8)


def run_bench(*options: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(bench)
    result = CliRunner().invoke(app, list(options))
    return result.exit_code, result.stdout


def test_quick_bench_prints_one_json_object_as_its_last_line() -> None:
    code, said = run_bench("--quick", "--only", "host", "--json")

    assert code == 0, said
    result = json.loads(said.strip().splitlines()[-1])
    assert {"machine", "threads", "results"} <= set(result)
    assert set(result["results"]["host"]["inputs"]) == {"h264_1080p", "jpeg_1080p"}
    for one in result["results"]["host"]["inputs"].values():
        assert {"reached", "cpu_ms_above_decoding", "cpu_ms_decoding", "frames_per_second", "stages"} <= set(one)
        assert {"read", "preprocess", "fill", "encode", "head", "decide", "publish", "waiting"} <= set(one["stages"])


def test_an_unknown_measurement_is_refused_with_the_known_ones() -> None:
    code, _ = run_bench("--only", "speed")

    assert code == 2
    assert "latency" in NAMES


def test_a_window_counts_whole_batches_after_the_warm_ones() -> None:
    window = Window(n_warm=4, n_frames=6)
    for n in (4, 3, 3, 5):
        window.tick(n)
        window.call("encode", lambda: None)

    assert window.done.is_set()
    figures = window.figures()
    assert (figures.n_frames, figures.n_batches) == (6, 2)
    assert set(figures.stages) == {"encode", "hand_over", "waiting"}


def test_a_window_that_never_filled_says_so() -> None:
    with pytest.raises(RuntimeError, match="expected 6 frames, got 0"):
        Window(n_warm=0, n_frames=6).figures()


def test_a_bench_keeps_two_batches_in_flight_where_the_encoder_can() -> None:
    encoder, cost = FakePipelinedEncoder(), BatchCost(a_s=0.0, b_s=0.0)
    run_line(
        Plan(
            sources=lambda clock: [MemorySource("cam-0", images=[IMAGE], clock=clock)],
            encoder=encoder,
            ladder=(1, 2),
            cost=cost,
            n_warm=2,
            n_frames=40,
        )
    )

    assert encoder.most_open == 2


def test_a_memory_source_hands_out_its_pictures_and_ends() -> None:
    source = MemorySource("cam-0", images=[IMAGE], clock=FakeClock(), n=2)
    source.open()

    taken = [source.read() for _ in range(2)]

    assert [one.position for one in taken if one] == [0, 1]
    with pytest.raises(SourceExhausted, match="all 2 frames"):
        source.read()


def test_a_frame_taken_late_still_arrived_when_it_was_due() -> None:
    clock = FakeClock()
    source = MemorySource("cam-0", images=[IMAGE], clock=clock, gaps_s=even_gaps(rate=10.0))
    source.open()
    due_at = clock.monotonic() + START_DELAY_S + 0.1
    clock.advance(5.0)

    taken = source.read()

    assert taken is not None
    assert taken.received_at == pytest.approx(due_at)


def test_poisson_arrivals_keep_the_rate_and_scatter() -> None:
    gaps = np.array(list(islice(poisson_gaps(rate=50.0, seed=1), 20_000)))

    assert gaps.mean() == pytest.approx(1 / 50.0, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50.0, rel=0.05)


def test_time_the_encoder_worked_is_cut_at_both_ends() -> None:
    busy = [(1.0, 2.0), (3.0, 5.0)]

    assert busy_before(np.array([0.0, 1.5, 2.5, 4.0, 9.0]), busy=busy).tolist() == [0.0, 0.5, 1.0, 2.0, 3.0]


def test_waits_leave_out_the_own_batch_and_then_all_encoding() -> None:
    arrival = Arrival(received_at=1.5, decided_at=5.0, delivered_at=5.25, infer_s=2.0)

    got = waits([arrival], busy=[(1.0, 2.0), (3.0, 5.0)])

    assert got["latency_p99_ms"] == pytest.approx(3750.0)
    assert got["beyond_own_batch_p99_ms"] == pytest.approx(1750.0)
    assert got["beyond_encoder_busy_p99_ms"] == pytest.approx(1250.0)
    assert got["beyond_own_batch_to_decision_p99_ms"] == pytest.approx(1500.0)


def test_the_slope_of_a_leak_is_found_and_its_interval_leaves_zero_out() -> None:
    rng = np.random.default_rng(0)
    n = np.arange(0, 20_000, 50)
    rss = 500e6 + 2e3 * n + rng.normal(0, 1e6, n.size)

    slope, margin = slope_mb_per_1000([(int(a), int(b)) for a, b in zip(n, rss, strict=True)])

    assert slope == pytest.approx(2.0, abs=0.1)
    assert slope - margin > 0


def test_too_few_samples_give_no_slope() -> None:
    with pytest.raises(ValueError, match=f"at least {N_BLOCKS}"):
        slope_mb_per_1000([(0, 1)])


def test_the_rendered_video_is_h264_and_plays(tmp_path: Path) -> None:
    import av

    path = material.write_video(tmp_path / "line.mp4", n=3, size=(96, 128))

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert sum(1 for _ in container.decode(stream)) == 3


def test_all_contestants_sleep_alike() -> None:
    ours = host_cost.SLEEP_COST

    assert (ours.a_s, ours.b_s) == (measuring.SLEEP_BATCH_S, measuring.SLEEP_ROW_S)


def test_a_peer_that_cannot_be_installed_is_named_with_the_installers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARLINE_BENCH_DIR", str(tmp_path))
    monkeypatch.setitem(PEERS, "absent", ("./no-such-folder",))

    assert bench_dir() == tmp_path
    with pytest.raises(PeerUnavailable, match="no-such-folder"):
        python_of("absent")


def test_a_script_that_fails_is_reported_and_not_measured(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable, match="failed: broken"):
        contestants.run_script([sys.executable, "-c", "raise SystemExit('broken')"], cwd=tmp_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc, which this system does not have")
def test_the_cpu_of_a_process_tree_includes_its_children_while_they_live() -> None:
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    alone = tree_cpu_s(child.pid)
    before_it_ends = tree_cpu_s(os.getpid())
    child.communicate(b"\n")

    assert 0.4 < alone < 5.0
    assert before_it_ends >= alone + sum(os.times()[:2]) - 1.0
