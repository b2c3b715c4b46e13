"""Software, processor, memory, disks, time, port and open files, each from what the machine would say."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

from workers.doctor import software, surroundings
from workers.doctor.disk import Place, disk, why_not_writable
from workers.doctor.finding import State
from workers.doctor.machine import cpu, memory, usable_cores

TORCH = {"torch": "2.13.0+cpu", "torchvision": "0.28.0", "open_clip_torch": "3.3.0"}


def test_python_and_packages_are_those_of_the_test_environment() -> None:
    assert software.python().state is State.OK
    found = software.packages(extras=["onnx"])
    assert found.state is State.OK, found
    assert "torch 2" in found.found


def test_a_package_that_is_missing_or_too_old_is_named() -> None:
    asked = ["numpy>=1.26", "torch<3,>=2.6", "openvino>=2025.0; extra == 'openvino'", "x>=1; extra == 'test'"]
    installed = {"numpy": "1.24.0"}
    wanting = software.unmet(asked, installed=installed.get, extras=["openvino"])
    assert wanting == ["numpy is 1.24.0, expected >=1.26", "torch is not installed", "openvino is not installed"]


def test_torch_and_torchvision_must_be_of_one_release() -> None:
    fits = software.torch_pair(installed=TORCH.get, requires=lambda _: ["numpy", "torch==2.13.0"])
    assert fits.state is State.OK
    differs = software.torch_pair(installed=TORCH.get, requires=lambda _: ["torch==2.12.1"])
    assert differs.state is State.BAD
    assert "torch is 2.13.0+cpu, expected ==2.12.1" in differs.found


@pytest.mark.parametrize(("needed", "state"), [(True, State.BAD), (False, State.WARN)])
def test_a_kafka_client_without_its_checksum_is_bad_only_where_kafka_is_spoken(needed: bool, state: State) -> None:
    assert software.kafka_client(needed=needed, installed={"kafka-python": "3.0.12"}.get).state is state
    assert software.kafka_client(needed=needed).state is State.OK


def test_the_processor_is_told_with_what_makes_it_fast(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: Xeon 8480\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16\n")
    found = cpu(threads=1, proc=tmp_path, cgroup=tmp_path)
    assert "Xeon 8480, AVX512_BF16, AMX_BF16" in found.found
    assert cpu(threads=10_000, proc=tmp_path, cgroup=tmp_path).state is State.WARN


def test_a_containers_quota_counts_as_its_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(cgroup=tmp_path) == 0.5
    assert cpu(threads=1, proc=tmp_path, cgroup=tmp_path).state is State.WARN


@pytest.mark.parametrize(("free_kb", "state"), [(8_000_000, State.OK), (1_500_000, State.WARN), (500_000, State.BAD)])
def test_memory_is_judged_by_what_is_free(tmp_path: Path, free_kb: int, state: State) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal:       16000000 kB\nMemAvailable:   {free_kb} kB\n")
    assert memory(proc=tmp_path, cgroup=tmp_path).state is state


def test_a_containers_memory_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\nMemAvailable:   9000000 kB\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("400000000\n")
    found = memory(proc=tmp_path, cgroup=tmp_path)
    assert (found.state, found.found) == (State.BAD, "0.6 of 1.0 GB free")


def test_a_path_is_writable_where_its_folder_can_still_be_made(tmp_path: Path) -> None:
    place = Place("sinks[0].path", tmp_path / "new" / "results.jsonl", False)
    assert disk(place).state is State.OK
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_or_of_the_wrong_kind_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    below = why_not_writable(Place("k", tmp_path / "file" / "results.jsonl", False))
    assert below == f"{tmp_path / 'file'} is a file, so nothing can lie below it"
    assert why_not_writable(Place("k", tmp_path, False)) == "expected a file, got a folder"
    assert disk(Place("k", tmp_path / "file", True)).state is State.BAD
    assert why_not_writable(Place("k", Path("/proc/clearline/x"), False)) is not None


def test_room_that_will_not_last_is_warned_of(tmp_path: Path) -> None:
    found = disk(Place("adaptation.folder", tmp_path, True, may_take_bytes=1e18))
    assert found.state is State.WARN
    assert "1000000000.0 GB more may come" in found.found


@pytest.mark.parametrize(
    ("timedatectl", "chronyc", "state"),
    [
        ("yes\n", None, State.OK),
        ("no\n", "Reference ID : 0A\nSystem time     : 0.000012 seconds slow\nLeap status     : Normal\n", State.OK),
        ("no\n", None, State.WARN),
        (None, "Leap status     : Not synchronised\n", State.WARN),
        (None, None, State.WARN),
    ],
)
def test_the_time_is_kept_where_one_of_the_tools_says_so(
    timedatectl: str | None, chronyc: str | None, state: State
) -> None:
    said = {"timedatectl": timedatectl, "chronyc": chronyc}

    def tell(command: Sequence[str]) -> str | None:
        return said[command[0]]

    assert surroundings.clock(tell=tell).state is state


def test_a_port_that_is_taken_is_bad() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        assert surroundings.port(host="127.0.0.1", port=number).state is State.BAD
    assert surroundings.port(host="127.0.0.1", port=number).state is State.OK
    assert surroundings.port(host="127.0.0.1", port=0).state is State.OK


def test_too_few_open_files_for_the_cameras_are_bad() -> None:
    assert surroundings.open_files(n_cameras=4, soft=1024).state is State.OK
    assert surroundings.open_files(n_cameras=100, soft=1024).state is State.BAD
