"""Where the answer has to be blind, what the line said is nowhere."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.workers.review.fake_backend import FakeBackend
from tests.workers.review.serving import client_of, logged_in, mounted, page_token
from workers.review.backend import QueueItem

SECRET = "dented_plate"
BLIND, SHOWN = "cap-02-1-100-full", "cap-02-1-101-full"


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend(n_questions=2)


@pytest.fixture
def client(backend: FakeBackend) -> TestClient:
    return logged_in(client_of(mounted(backend)), name="liu")


def test_a_blind_question_with_an_answer_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no model answer"):
        QueueItem("e", "cap-01", 0.0, blind=True, model_label=SECRET)
    with pytest.raises(ValueError, match="no model answer"):
        QueueItem("e", "cap-01", 0.0, blind=True, model_confidence=0.5)


def test_the_json_of_a_blind_question_does_not_have_the_answer(client: TestClient) -> None:
    blind, shown = client.get("/review/queue.json").json()["items"]
    assert set(blind) == {"event_id", "camera", "blind", "time", "picture"}
    assert SECRET not in str(blind)
    assert shown["model_label"] == SECRET


def test_the_page_of_a_blind_question_marks_no_class(client: TestClient, backend: FakeBackend) -> None:
    backend.questions = backend.questions[:1]
    page = client.get("/review/queue").text
    assert page.count(SECRET) == 1  # the button that every question has
    assert "61%" not in page
    assert "answer is hidden" in page


def test_the_picture_of_a_question_says_nothing_in_its_headers(client: TestClient) -> None:
    answer = client.get(f"/review/pictures/{BLIND}")
    assert set(answer.headers) <= {
        "content-type",
        "content-length",
        "cache-control",
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "cross-origin-resource-policy",
        "permissions-policy",
    }


def test_why_is_not_told_until_the_blind_answer_is_in(client: TestClient, backend: FakeBackend) -> None:
    page = client.get(f"/review/why/{BLIND}")
    assert page.status_code == 404
    assert SECRET not in page.text
    form = {"event_id": BLIND, "label": "gear", "token": page_token(client)}
    assert client.post("/review/queue/answer", data=form).status_code == 303
    assert client.get(f"/review/why/{BLIND}").status_code == 200


def test_an_answer_to_a_question_tells_nothing_of_what_others_said(client: TestClient) -> None:
    headers = {"X-CSRF-Token": page_token(client), "Accept": "application/json"}
    answer = client.post("/review/queue/answer", data={"event_id": BLIND, "label": "gear"}, headers=headers)
    assert answer.json() == {"taken": True}
