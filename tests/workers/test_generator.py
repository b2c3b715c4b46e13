"""The chat endpoint and the drafts made with it, against a real HTTP server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.texts.entries import Provenance, Status, TextKind
from tests.fakes import FakeClock
from tests.pipeline.texts import making_texts as making
from tests.servers.chat import chat_server
from workers.generator.chat import ChatEndpoint
from workers.generator.generate import MAX_ROUNDS, generate

KEY = "sk-very-secret"
ASKED = [{"role": "user", "content": "which?"}]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def endpoint(base_url: str, *, cache: Path, clock: FakeClock | None = None, model: str = "m") -> ChatEndpoint:
    return ChatEndpoint(base_url, model=model, clock=clock or FakeClock(), cache=cache, api_key=KEY, timeout_s=5.0)


def test_a_question_goes_out_in_the_form_every_such_endpoint_reads(tmp_path: Path) -> None:
    with chat_server(["- a line"]) as server:
        assert endpoint(server.base_url, cache=tmp_path).ask(ASKED) == "- a line"
    assert server.paths == ["/v1/chat/completions"]
    assert server.requests == [{"model": "m", "messages": ASKED, "temperature": 0.0}]
    assert server.keys == [f"Bearer {KEY}"]


def test_the_same_question_is_asked_once_and_another_model_is_another_question(tmp_path: Path) -> None:
    with chat_server(["first", "second"]) as server:
        assert endpoint(server.base_url, cache=tmp_path).ask(ASKED) == "first"
        again = endpoint(server.base_url, cache=tmp_path)
        assert (again.ask(ASKED), again.n_sent) == ("first", 0)
        assert endpoint(server.base_url, cache=tmp_path, model="other").ask(ASKED) == "second"
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert all(KEY not in file.read_text() for file in files)


def test_a_damaged_answer_on_disk_is_asked_again(tmp_path: Path) -> None:
    with chat_server(["first", "second"]) as server:
        endpoint(server.base_url, cache=tmp_path).ask(ASKED)
        next(tmp_path.iterdir()).write_text("{")
        assert endpoint(server.base_url, cache=tmp_path).ask(ASKED) == "second"


def test_a_busy_endpoint_is_asked_again_after_a_growing_wait(tmp_path: Path) -> None:
    clock = FakeClock()
    with chat_server([429, 503, "at last"]) as server:
        assert endpoint(server.base_url, cache=tmp_path, clock=clock).ask(ASKED) == "at last"
    assert clock.waits == [2.0, 4.0]


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        (429, ConfigError, "got HTTP 429 3 times"),
        (401, ConfigError, "HTTP 401; check api_key_file"),
        (404, ConfigError, "HTTP 404; check base_url and model"),
        (302, ConfigError, "HTTP 302; give the address it redirects to"),
        (b"<html>", DataError, "expected JSON with choices"),
        (b'{"choices": [{"message": {"content": null}}]}', DataError, "expected a text as answer, got NoneType"),
        (b"x" * 1_100_000, DataError, "at most 1000000 bytes"),
    ],
)
def test_an_answer_that_is_none_is_an_error_without_the_key(
    tmp_path: Path, reply: int | bytes, error: type[Exception], message: str
) -> None:
    with chat_server([reply]) as server, pytest.raises(error, match=message) as caught:
        endpoint(server.base_url, cache=tmp_path).ask(ASKED)
    assert KEY not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_redirect_takes_the_key_nowhere(tmp_path: Path) -> None:
    with chat_server([302]) as server, pytest.raises(ConfigError):
        endpoint(server.base_url, cache=tmp_path).ask(ASKED)
    assert server.paths == ["/v1/chat/completions"]


def test_an_endpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with chat_server(["x"]) as server:
        url = server.base_url
    with pytest.raises(ConfigError, match="check base_url and the network"):
        endpoint(url, cache=tmp_path).ask(ASKED)


class Script:
    """Answers by the last message; a fake of the endpoint."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[list[dict[str, str]]] = []

    def ask(self, messages: Sequence[dict[str, str]]) -> str:
        self.asked.append(list(messages))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def test_each_class_is_asked_for_each_kind_and_answers_become_drafts(tmp_path: Path) -> None:
    chat = Script(["- polished plate", "- a mirror face\n- sharp edges", "- a frozen lake", "- no line at all"])
    drafts = generate(
        making.small(tmp_path),
        chat=chat,
        encoder=making.WordTower(),
        classes=["ok"],
        rivals=[("ok", "scratched")],
    )
    assert [(t.kind, t.text, t.rival) for t in drafts["ok"]] == [
        (TextKind.SYNONYM, "polished plate", None),
        (TextKind.ATTRIBUTE, "a mirror face", None),  # sharp edges it has
        (TextKind.ANALOGOUS, "a frozen lake", None),
        (TextKind.ONE_TO_ONE, "no line at all", "scratched"),
    ]
    assert {(t.provenance, t.status, t.language) for t in drafts["ok"]} == {(Provenance.LLM, Status.DRAFT, "en")}
    assert len(chat.asked) == 4


def test_analogies_near_another_class_are_sent_back_until_they_are_far(tmp_path: Path) -> None:
    chat = Script(["- x", "- x", "- plate scratched\n- a lake", "- a sheet of ice"])
    drafts = generate(making.small(tmp_path), chat=chat, encoder=making.WordTower(), classes=["ok"])
    told = [t.text for t in drafts["ok"] if t.kind is TextKind.ANALOGOUS]
    assert told == ["a lake", "a sheet of ice"]
    follow_up = chat.asked[3]
    assert [m["role"] for m in follow_up] == ["system", "user", "assistant", "user"]
    assert "- plate scratched" in follow_up[3]["content"]
    assert "Give 1 other" in follow_up[3]["content"]


def test_an_endpoint_that_never_learns_is_sent_back_six_times_at_most(tmp_path: Path) -> None:
    class Stubborn(Script):
        def ask(self, messages: Sequence[dict[str, str]]) -> str:
            super().ask(messages)
            return "- scratched plate" + "!" * len(self.asked)

    chat = Stubborn(["-"])
    drafts = generate(making.small(tmp_path), chat=chat, encoder=making.WordTower(), classes=["ok"])
    assert len(chat.asked) == 2 + 1 + MAX_ROUNDS
    assert [t for t in drafts.get("ok", ()) if t.kind is TextKind.ANALOGOUS] == []


def test_progress_ends_at_one(tmp_path: Path) -> None:
    shares: list[float] = []
    chat = Script(["- x"])
    generate(making.small(tmp_path), chat=chat, encoder=None, classes=["ok", "scratched"], on_progress=shares.append)
    assert shares == pytest.approx([n / 6 for n in range(1, 7)])
    assert json.dumps(chat.asked[0]).count("clean plate") == 1
