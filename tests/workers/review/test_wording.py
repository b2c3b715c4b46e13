"""Both languages are complete, and facts become the right sentences."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.gate.values import GateDecision
from pipeline.adaptation.lifecycle.states import State
from pipeline.errors import ConfigError
from pipeline.types import Decision
from tests.workers.review.fake_backend import NOON, FakeBackend, gate_report
from workers.capture import SourceState
from workers.review import app
from workers.review.access import Role
from workers.review.backend import DriftLine, Harm, HeadStatus
from workers.review.sentences import check_name, drift_sentence, gate_facts, margin_sentence, state_word, tone
from workers.review.wording import LANGUAGES, words

TOKYO = timezone(timedelta(hours=9))
LIGHT = DriftLine(
    "camera 3",
    State.LABELLING,
    since=NOON,
    cause=Cause.LIGHTING_POSITION,
    harm=Harm.NONE_SO_FAR,
    n_labels=23,
    n_labels_needed=64,
)


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_sentences_with_the_same_values() -> None:
    english, japanese = LANGUAGES["en"], LANGUAGES["ja"]
    assert set(english) == set(japanese)
    assert {key: _fields(text) for key, text in english.items()} == {
        key: _fields(text) for key, text in japanese.items()
    }
    assert all(text for table in LANGUAGES.values() for text in table.values())


def _made_keys() -> Iterator[str]:
    yield from (f"state_{state.value.replace(' ', '_')}" for state in State)
    yield from (f"fact_{state.value.replace(' ', '_')}" for state in State)
    yield from (f"cause_{cause}" for cause in Cause)
    yield from (f"harm_{harm}" for harm in Harm)
    yield from (f"status_{status}" for status in HeadStatus)
    yield from (f"decision_{decision}" for decision in Decision)
    yield from (f"source_{state}" for state in SourceState)
    yield from (f"gate_{decision}" for decision in GateDecision)
    yield from (f"role_{role.name.lower()}" for role in Role)
    yield "done_freeze"
    for action in ("approve", "promote", "roll_back", "thaw"):
        yield from (f"ask_{action}", f"ask_{action}_text", f"yes_{action}", f"done_{action}")


def test_every_state_cause_status_and_action_has_its_words() -> None:
    assert [key for key in _made_keys() if key not in LANGUAGES["en"]] == []


def test_every_sentence_is_used_and_every_used_one_is_there() -> None:
    folder = Path(app.__file__).parent
    sources = [
        path for path in folder.rglob("*") if path.suffix in {".py", ".html", ".js"} and "wording" not in path.name
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*sources, folder / "wording.py"])
    named = set(re.findall(r"""["']([a-z]+_[a-zA-Z0-9_]+|none|date|stale|lost|nav|confidence)["']""", text))
    made = set(_made_keys()) | {
        key for key in LANGUAGES["en"] if key.startswith(("check_", "nav_", "confusion_", "age_"))
    }
    assert set(LANGUAGES["en"]) - named - made == set()
    called = set(re.findall(r"""words\(["']([a-zA-Z0-9_]+)["'][,)]""", text))
    assert called - set(LANGUAGES["en"]) == set()


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "camera 3: light or position changed at 22:13, no harm measured so far, 23 of 64 labels in."),
        ("ja", "camera 3：22:13に照明または位置が変化、今のところ影響なし、ラベル64件中23件が完了。"),
    ],
)
def test_a_drift_is_told_in_one_sentence(lang: str, said: str) -> None:
    assert drift_sentence(LIGHT, words=words(lang, zone=UTC), now=NOON) == said


def test_times_are_the_plant_s_and_have_a_date_when_it_was_another_day() -> None:
    table = words("en", zone=TOKYO)
    assert table.clock(NOON, now=NOON) == "07:13"
    assert table.clock(NOON, now=NOON + 86_400) == "11-15 07:13"


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_state_makes_a_sentence_a_word_and_a_tone(state: State, lang: str) -> None:
    table = words(lang, zone=UTC)
    for line in (DriftLine("cap-01", state), DriftLine("cap-01", state, since=NOON, cause=Cause.BLUR)):
        assert drift_sentence(line, words=table, now=NOON).startswith("cap-01")
    assert state_word(state, words=table)
    assert tone(DriftLine("cap-01", state)) in {"calm", "busy", "ask", "alarm"}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0.3, "now"),
        (2.0, "2 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3600, "1 h ago"),
        (1e6, "11 d ago"),
    ],
)
def test_ages_are_told_in_one_unit(seconds: float | None, said: str) -> None:
    assert words("en").age(seconds) == said


@pytest.mark.parametrize(("share", "said"), [(None, "–"), (0.914, "91%"), (0.9999, "99%"), (1.0, "100%"), (0.0, "0%")])
def test_confidence_is_never_rounded_up_to_certainty(share: float | None, said: str) -> None:
    assert words("en").percent(share) == said


@pytest.mark.parametrize(("value", "said"), [(1.25, "+1.2"), (-0.4, "−0.4"), (0.0, "0.0"), (-0.01, "0.0")])
def test_numbers_have_a_real_sign_and_nothing_has_none(value: float, said: str) -> None:
    assert words("en").number(value) == said


def test_the_margin_is_told_before_and_after_deconfusion() -> None:
    why = FakeBackend().why("cap-02-1-77-full")
    assert why is not None
    said = margin_sentence(why, names={"scratched_plate": "scratch", "dented_plate": "dent"}, words=words("en"))
    assert said == (
        "Before deconfusion dent was ahead by 0.4. Removing the confusion of the two classes moved the margin by +2.2, "
        "and scratch leads by 1.8."
    )


def test_the_gate_s_report_is_told_in_the_page_s_language() -> None:
    facts = dict(gate_facts(gate_report(), words=words("en")))
    assert facts["Escapes"] == "0 introduced, 2 removed"
    assert facts["Compared on"] == "18,240 parts, 529 decided otherwise"
    assert [check_name(check, words=words("ja")) for check in gate_report().checks][:2] == [
        "ラベルの品質",
        "重み・処理時間・再現性",
    ]


def test_a_language_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of en, ja, got fr"):
        words("fr")
