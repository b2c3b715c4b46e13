"""What the page refuses: foreign forms, roles that are too low, guesses, paths, and names of other machines."""

from __future__ import annotations

import base64

import pytest
from starlette.testclient import TestClient

from tests.fakes import FakeClock
from tests.workers.review.fake_backend import FakeBackend
from tests.workers.review.serving import (
    BEARER,
    PASSWORDS,
    client_of,
    form_token,
    logged_in,
    mounted,
    page_token,
)
from workers.review.rendering import SECURITY_HEADERS

PAGES = ("/", "/wall.json", "/queue", "/queue.json", "/why/cap-02-1-77-full", "/confusion", "/drift", "/heads")
PICTURE = "/pictures/cap-01-1-77-full"
OPEN_QUESTION = "cap-02-1-100-full"


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(now=1000.0, utc_offset=1_699_999_000.0)


@pytest.fixture
def client(backend: FakeBackend, clock: FakeClock) -> TestClient:
    return client_of(mounted(backend, clock=clock))


@pytest.mark.parametrize("path", [*PAGES, PICTURE, "/heads/7/promote", "/labels", "/nothing"])
def test_strangers_see_nothing_but_the_login(client: TestClient, path: str) -> None:
    answer = client.get("/review" + path)
    assert answer.status_code in (303, 401, 404, 405)
    if answer.status_code == 303:
        assert answer.headers["location"] == "/review/login"
    assert "plate" not in answer.text
    assert "cap-0" not in answer.text


@pytest.mark.parametrize("path", [*PAGES, PICTURE, "/login", "/static/review.css", "/static/nothing", "/nothing"])
@pytest.mark.parametrize("name", ["aoki", None])
def test_every_answer_has_the_security_headers(client: TestClient, path: str, name: str | None) -> None:
    if name:
        logged_in(client, name=name)
    headers = client.get("/review" + path).headers
    assert {key: headers[key] for key in SECURITY_HEADERS} == dict(SECURITY_HEADERS)
    assert headers["cache-control"].startswith("private" if path == "/static/review.css" else "no-store")


def test_the_policy_allows_no_inline_script_style_or_foreign_host(client: TestClient) -> None:
    policy = client.get("/review/login").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    logged_in(client, name="aoki")
    for path in ("/", "/queue", "/drift", "/heads", "/confusion", "/why/cap-02-1-77-full"):
        page = client.get("/review" + path).text
        assert "style=" not in page
        assert "<script>" not in page
        assert " onclick" not in page
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert "https://" not in page


def test_a_fault_of_the_backend_still_has_the_headers_and_says_nothing_of_it(
    client: TestClient, backend: FakeBackend
) -> None:
    logged_in(client, name="vera")
    backend.tiles = None  # type: ignore[assignment]
    answer = client.get("/review/")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == SECURITY_HEADERS["Content-Security-Policy"]
    assert "NoneType" not in answer.text


def test_session_cookies_stay_out_of_scripts_and_foreign_pages(client: TestClient) -> None:
    token = form_token(client.get("/review/login").text)
    form = {"name": "vera", "password": PASSWORDS["vera"], "token": token}
    cookie = client.post("/review/login", data=form).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/review" in cookie


def test_a_login_without_the_form_s_token_is_refused(client: TestClient) -> None:
    client.get("/review/login")
    answer = client.post("/review/login", data={"name": "vera", "password": PASSWORDS["vera"], "token": "guess"})
    assert answer.status_code == 403


CHANGES = (
    ("/queue/answer", {"event_id": OPEN_QUESTION, "label": "gear"}),
    ("/queue/skip", {"event_id": OPEN_QUESTION}),
    ("/heads/7/approve", {"live": "6"}),
    ("/heads/7/promote", {"live": "6"}),
    ("/heads/roll-back", {"live": "6"}),
    ("/heads/freeze", {}),
)


@pytest.mark.parametrize(("path", "form"), CHANGES)
@pytest.mark.parametrize("token", ["", "0" * 64, "of another session"])
def test_a_change_without_this_session_s_token_is_refused(
    client: TestClient, backend: FakeBackend, path: str, form: dict[str, str], token: str
) -> None:
    if token.startswith("of"):
        token = page_token(logged_in(client_of(client.app), name="aoki"))  # type: ignore[arg-type]
    logged_in(client, name="aoki")
    assert client.post("/review" + path, data={**form, "token": token}).status_code == 403
    assert backend.calls == []
    assert backend.said(OPEN_QUESTION) == {}


def test_basic_credentials_need_the_token_too_because_a_browser_sends_them_by_itself(
    client: TestClient, backend: FakeBackend
) -> None:
    basic = {"Authorization": "Basic " + base64.b64encode(f"aoki:{PASSWORDS['aoki']}".encode()).decode()}
    assert client.post("/review/heads/freeze", headers=basic).status_code == 403
    token = form_token(client.get("/review/heads", headers=basic).text)
    assert client.post("/review/heads/freeze", headers=basic, data={"token": token}).status_code == 303
    assert backend.calls == [("freeze", None, "aoki")]


def test_a_form_that_a_foreign_page_sends_is_refused_even_with_the_token(client: TestClient) -> None:
    token = page_token(logged_in(client, name="aoki"))
    answer = client.post("/review/heads/freeze", data={"token": token}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("name", "path", "form", "code"),
    [
        ("vera", "/queue/answer", {"event_id": OPEN_QUESTION, "label": "gear"}, 403),
        ("vera", "/labels", {}, 403),
        ("vera", "/heads/freeze", {}, 403),
        ("liu", "/heads/7/approve", {"live": "6"}, 403),
        ("liu", "/heads/7/promote", {"live": "6"}, 403),
        ("liu", "/heads/roll-back", {"live": "6"}, 403),
        ("liu", "/heads/freeze", {}, 403),
        ("liu", "/queue/answer", {"event_id": OPEN_QUESTION, "label": "gear"}, 303),
        ("aoki", "/queue/answer", {"event_id": OPEN_QUESTION, "label": "gear"}, 303),
        ("aoki", "/heads/7/approve", {"live": "6"}, 303),
    ],
)
def test_roles_may_do_what_is_theirs_and_no_more(
    client: TestClient, name: str, path: str, form: dict[str, str], code: int
) -> None:
    token = page_token(logged_in(client, name=name))
    assert client.post("/review" + path, data={**form, "token": token}).status_code == code


@pytest.mark.parametrize(("name", "n_tabs"), [("vera", 4), ("liu", 5), ("aoki", 5)])
def test_nobody_is_shown_what_he_may_not_do(client: TestClient, name: str, n_tabs: int) -> None:
    page = logged_in(client, name=name).get("/review/heads").text
    assert page.split("<nav")[1].split("</nav>")[0].count("<a ") == n_tabs
    assert ("/heads/7/approve" in page) == (name == "aoki")


def test_guessing_passwords_is_slowed_down_for_that_address(client: TestClient, clock: FakeClock) -> None:
    token = form_token(client.get("/review/login").text)
    wrong = {"name": "aoki", "password": "guess", "token": token}
    codes = [client.post("/review/login", data=wrong).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    right = {**wrong, "password": PASSWORDS["aoki"]}
    answer = client.post("/review/login", data=right)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    clock.advance(60.0)
    assert client.post("/review/login", data=right).status_code == 303


def test_guessing_tokens_is_slowed_down_and_a_right_one_costs_nothing(client: TestClient) -> None:
    assert {client.get("/review/wall.json", headers=BEARER).status_code for _ in range(20)} == {200}
    wrong = {"Authorization": "Bearer guess"}
    assert [client.get("/review/wall.json", headers=wrong).status_code for _ in range(6)] == [401] * 5 + [429]


def test_labelling_faster_than_a_person_can_is_slowed_down(client: TestClient, clock: FakeClock) -> None:
    token = page_token(logged_in(client, name="liu"))
    form = {"event_id": OPEN_QUESTION, "label": "gear", "token": token}
    codes = [client.post("/review/queue/answer", data=form).status_code for _ in range(61)]
    assert codes == [303] * 60 + [429]
    clock.advance(1.0)
    assert client.post("/review/queue/answer", data=form).status_code == 303


@pytest.mark.parametrize(
    "picture",
    [
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..",
        ".hidden",
        "a..b",
        "a%00b",
        "a%5c..%5cb",
        "a b",
        "a" * 300,
        "%C3%BC",
    ],
)
@pytest.mark.parametrize("place", ["/pictures/", "/why/"])
def test_an_id_that_could_be_a_path_never_reaches_the_backend(
    client: TestClient, backend: FakeBackend, picture: str, place: str
) -> None:
    asked = list[str]()
    backend.picture = asked.append  # type: ignore[method-assign,assignment]
    backend.why = asked.append  # type: ignore[method-assign,assignment]
    logged_in(client, name="vera")
    assert client.get(f"/review{place}{picture}").status_code >= 300
    assert asked == []


def test_only_pictures_are_served_as_pictures(client: TestClient, backend: FakeBackend) -> None:
    backend.pictures["page"] = b"<html><script>alert(1)</script>"
    logged_in(client, name="vera")
    assert client.get("/review/pictures/page").status_code == 404
    assert client.get("/review/pictures/nothing").status_code == 404
    assert client.get("/review" + PICTURE).headers["content-type"] == "image/jpeg"


def test_texts_of_others_are_never_markup(client: TestClient, backend: FakeBackend) -> None:
    backend.freeze("<script>alert(1)</script>")
    page = logged_in(client, name="vera").get("/review/heads").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.4"])
def test_without_users_other_names_for_this_machine_are_refused(backend: FakeBackend, host: str) -> None:
    client = client_of(mounted(backend, users=()))
    assert client.get("/review/wall.json").status_code == 200
    assert client.get("/review/wall.json", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(("path", "form"), CHANGES)
def test_without_users_everybody_may_look_and_nobody_may_change(
    backend: FakeBackend, path: str, form: dict[str, str]
) -> None:
    client = client_of(mounted(backend, users=()))
    page = client.get("/review/heads").text
    assert "Read only" in page
    assert client.post("/review" + path, data={**form, "token": "0" * 64}).status_code == 403
    assert backend.calls == []
    assert client.get("/review/queue").status_code == 403


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"x" * 1_048_577, "application/json", 413),
        (b"{", "application/json", 400),
        (b"a=1", "text/plain", 415),
        (b"\xff=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(40)), "application/x-www-form-urlencoded", 400),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(client: TestClient, body: bytes, kind: str, code: int) -> None:
    answer = client.post("/review/labels", content=body, headers={**BEARER, "Content-Type": kind})
    assert answer.status_code == code
