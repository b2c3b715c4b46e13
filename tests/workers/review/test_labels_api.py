"""Labels from other programs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.workers.review.fake_backend import FakeBackend
from tests.workers.review.serving import BEARER, client_of, logged_in, mounted, page_token
from workers.review.labels_api import MAX_LABELS

LABEL = {"event_id": "cap-01-1-77-full", "label": "gear", "labelled_at": 1_700_000_000.0, "stream": "teach"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def client(backend: FakeBackend) -> TestClient:
    return client_of(mounted(backend))


def _post(client: TestClient, content: Any, **headers: str) -> Any:
    return client.post("/review/labels", json=content, headers={**BEARER, **JSON, **headers})


def test_one_label_is_taken_in_the_sender_s_name(client: TestClient, backend: FakeBackend) -> None:
    answer = _post(client, LABEL)
    assert answer.status_code == 200
    assert answer.json() == {
        "labels": [{"event_id": "cap-01-1-77-full", "outcome": "accepted", "reason": "", "quarantined": False}]
    }
    assert backend.taken == [{**LABEL, "labeller": "mes"}]


def test_many_labels_are_answered_each_in_its_place(client: TestClient) -> None:
    labels = [
        LABEL,
        {**LABEL, "event_id": "gone"},
        {**LABEL, "labeller": "liu"},
        {**LABEL, "stream": "gate", "blind": True},
        {"event_id": 5},
    ]
    answers = _post(client, labels).json()["labels"]
    assert [one["outcome"] for one in answers] == ["accepted", "unknown_event", "refused", "refused", "malformed"]
    assert "expected mes" in answers[2]["reason"]
    assert "stream: expected teach" in answers[3]["reason"]
    assert [one["quarantined"] for one in answers] == [False, True, False, False, True]


def test_an_approver_s_program_may_bring_in_what_others_said(client: TestClient, backend: FakeBackend) -> None:
    logged_in(client, name="aoki")
    headers = {"X-CSRF-Token": page_token(client), **JSON}
    audit = {**LABEL, "labeller": "laboratory", "stream": "audit", "blind": True}
    assert client.post("/review/labels", json=audit, headers=headers).json()["labels"][0]["outcome"] == "accepted"
    assert backend.taken == [audit]


@pytest.mark.parametrize("content", [[], "gear", [LABEL, 5], None, [LABEL] * (MAX_LABELS + 1)])
def test_what_is_no_list_of_labels_is_refused_whole(client: TestClient, backend: FakeBackend, content: Any) -> None:
    answer = _post(client, content)
    assert answer.status_code == 422
    assert "expected" in answer.json()["error"]
    assert backend.taken == []


def test_without_a_token_nothing_is_taken(client: TestClient) -> None:
    answer = client.post("/review/labels", json=LABEL)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_approver_s_program_says_what_is_on_the_belt(client: TestClient, backend: FakeBackend) -> None:
    assert client.post("/review/product", json={"product": "lid"}, headers={**BEARER, **JSON}).status_code == 403
    logged_in(client, name="aoki")
    headers = {"X-CSRF-Token": page_token(client), **JSON}
    assert client.post("/review/product", json={"product": "lid"}, headers=headers).json() == {"product": "lid"}
    for content in ({"product": ""}, {"product": 5}, ["lid"]):
        assert client.post("/review/product", json=content, headers=headers).status_code == 422
    assert backend.calls == [("product", "lid", "aoki")]


def test_every_label_counts_against_the_rate(client: TestClient) -> None:
    assert _post(client, [LABEL] * 200).status_code == 200
    assert _post(client, LABEL).status_code == 429
