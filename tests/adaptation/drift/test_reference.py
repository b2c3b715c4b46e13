"""References: who is believed when, and a file in which nothing can be changed unseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.charts import Charts
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.adaptation.drift.profile_file import load_profile, reference_path, save_profile, sealed
from pipeline.errors import DataError
from tests.adaptation.streams import CI, Camera, Size
from tests.adaptation.trials import CI_RULES, context, reference

World = tuple[Camera, ReferenceProfile]


def test_the_defaults_believe_four_charts_from_100_000_parts_and_the_mix_from_300_000() -> None:
    rules = ReferenceRules()
    assert (rules.advisory_parts, rules.active_parts, rules.mix_active_parts) == (20_000, 100_000, 300_000)
    assert rules.correlation_times == 300.0


def test_a_shorter_recording_leaves_the_mix_chart_advisory_and_the_others_active() -> None:
    rules = replace(CI_RULES, correlation_times=50.0)
    profile = reference(Camera(0, CI, "line"), rules=rules, n_parts=50_000)
    assert [spec.name for spec in profile.charts if spec.advisory] == ["mix"]


def test_a_recording_of_few_correlation_times_leaves_all_charts_advisory() -> None:
    profile = reference(Camera(0, CI, "line"), rules=replace(CI_RULES, correlation_times=2_000.0))
    assert profile.active == (False,) * len(CHARTS)


def test_the_correlation_time_is_that_of_the_stream(lines: list[World]) -> None:
    times = [profile.correlation_parts for _, profile in lines]
    assert np.mean(times) == pytest.approx(CI.correlation_parts, rel=0.2)


def test_independent_parts_have_a_correlation_time_of_a_block() -> None:
    assert reference(Camera(0, CI, "iid")).correlation_parts <= 2 * CI_RULES.block


def test_directions_are_judged_by_parts_that_did_not_choose_them() -> None:
    """In many dimensions the directions of largest variance are the luckiest: on fresh parts residuals are shorter."""
    camera = Camera(2, Size(dim=256, rank=8, correlation_parts=64, reference_parts=20_000), "iid")
    profile = reference(camera, rules=CI_RULES, n_parts=20_000)
    x, p, _ = camera.parts(10_000)
    ratios = [r.ratios[CHARTS.index("dispersion")] for r in Charts(profile).update(x, probabilities=p)]
    assert max(ratios) < 1.0


def test_too_few_parts_are_refused_with_the_number_needed() -> None:
    with pytest.raises(DataError, match="at least 20,000 parts in a row, got 5,000"):
        reference(Camera(0, CI, "iid"), rules=ReferenceRules(), n_parts=5_000)


def test_the_same_recording_gives_the_same_file() -> None:
    profiles = [reference(Camera(1, CI, "line"), n_parts=10_000) for _ in range(2)]
    assert profiles[0].sha256 == profiles[1].sha256


def test_a_saved_reference_comes_back_the_same_and_draws_the_same_charts(line: World, tmp_path: Path) -> None:
    camera, profile = line
    signed = sealed(profile, approved_by="M. Tanaka")
    path = save_profile(signed, folder=tmp_path)
    loaded = load_profile(path, context=context(camera), sha256=signed.sha256)
    assert path == reference_path(tmp_path, context=context(camera))
    assert (loaded.approved_by, loaded.n_parts, loaded.rules) == ("M. Tanaka", profile.n_parts, profile.rules)
    x, p, _ = camera.branch(1).parts(500)
    assert Charts(loaded).update(x, probabilities=p) == Charts(profile).update(x, probabilities=p)


def test_a_changed_limit_is_refused(line: World, tmp_path: Path) -> None:
    path = save_profile(line[1], folder=tmp_path)
    content = path.read_bytes()
    assert content.count(b"1000000.0") == 1  # the parts per alarm
    path.write_bytes(content.replace(b"1000000.0", b"9000000.0"))
    with pytest.raises(DataError, match=r"expected manifest with SHA-256 .* it was changed"):
        load_profile(path)


def test_a_changed_tensor_is_refused(line: World, tmp_path: Path) -> None:
    path = save_profile(line[1], folder=tmp_path)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors["basis"] = tensors["basis"] * np.float32(1.01)
    safetensors.numpy.save_file(tensors, path, metadata=metadata)
    with pytest.raises(DataError, match=r"expected tensor basis with SHA-256 .* it was changed"):
        load_profile(path)


def test_a_truncated_file_is_refused(line: World, tmp_path: Path) -> None:
    path = save_profile(line[1], folder=tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="expected a whole drift reference"):
        load_profile(path)


def test_the_reference_of_another_product_is_refused(line: World, tmp_path: Path) -> None:
    path = save_profile(line[1], folder=tmp_path)
    with pytest.raises(DataError, match="expected the reference of Context"):
        load_profile(path, context=context(line[0], product="another"))


def test_another_file_than_the_one_named_is_refused(line: World, tmp_path: Path) -> None:
    path = save_profile(line[1], folder=tmp_path)
    with pytest.raises(DataError, match="expected the file with SHA-256 000000000000"):
        load_profile(path, sha256="0" * 64)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got no such file"):
        load_profile(tmp_path / "none.safetensors")
