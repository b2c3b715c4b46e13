"""Who gets in: names, secrets, sessions, and where a page without users may listen."""

from __future__ import annotations

import base64

import pytest

from pipeline.errors import ConfigError
from tests.fakes import FakeClock
from tests.workers.review.serving import PASSWORDS, TOKEN, USERS
from workers.review.access import MAX_SESSIONS, SESSION_S, Access, Role, User, password_hash, token_hash
from workers.review.limits import MAX_CLIENTS, Rate, RateLimit


@pytest.fixture
def access() -> Access:
    return Access(USERS, clock=FakeClock())


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_password_opens_a_session_and_a_wrong_one_does_not(access: Access) -> None:
    session = access.log_in("liu", password=PASSWORDS["liu"])
    assert session is not None
    visitor = access.by_session(session)
    assert visitor is not None
    assert (visitor.user.name, visitor.user.role) == ("liu", Role.LABELLER)
    assert access.log_in("liu", password="wrong") is None
    assert access.log_in("nobody", password=PASSWORDS["liu"]) is None


def test_a_machine_with_a_token_only_has_no_password(access: Access) -> None:
    assert access.log_in("mes", password="") is None
    assert access.log_in("mes", password=TOKEN) is None


def test_a_session_ends_with_its_shift_and_with_log_out() -> None:
    clock = FakeClock()
    access = Access(USERS, clock=clock)
    first, second = (access.log_in("vera", password=PASSWORDS["vera"]) or "" for _ in range(2))
    access.log_out(first)
    assert access.by_session(first) is None
    clock.advance(SESSION_S - 1)
    assert access.by_session(second) is not None
    clock.advance(1)
    assert access.by_session(second) is None


def test_the_oldest_session_goes_when_there_are_too_many() -> None:
    access = Access([User("vera", Role.VIEWER, password_hash("x"))], clock=FakeClock())
    first = access.log_in("vera", password="x")
    access._sessions.update({f"s{n}": (USERS[0], 1e9) for n in range(MAX_SESSIONS - 1)})
    access.log_in("vera", password="x")
    assert len(access._sessions) == MAX_SESSIONS
    assert access.by_session(first or "") is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (f"Bearer {TOKEN}", "mes"),
        (f"bearer  {TOKEN} ", "mes"),
        ("Bearer " + TOKEN[:-1], None),
        ("Bearer ", None),
        (_basic("aoki", PASSWORDS["aoki"]), "aoki"),
        (_basic("aoki", PASSWORDS["liu"]), None),
        ("Basic ====", None),
        ("Basic " + base64.b64encode(b"\xff\xfe").decode(), None),
        ("Digest aoki", None),
    ],
)
def test_headers_name_a_user_or_nobody(access: Access, header: str, name: str | None) -> None:
    for _ in range(2):  # the second time from memory
        found = access.by_header(header)
        assert (found.user.name if found else None) == name


def test_hashes_are_salted_and_do_not_hold_the_secret() -> None:
    assert password_hash("secret") != password_hash("secret")
    assert "secret" not in password_hash("secret") + token_hash("secret")
    assert "scrypt" not in repr(USERS[0])


def test_a_form_token_belongs_to_one_visitor_of_one_process(access: Access) -> None:
    token = access.form_token("session:a")
    assert access.is_form_token(token, key="session:a")
    assert not access.is_form_token(token, key="session:b")
    assert not Access(USERS, clock=FakeClock()).is_form_token(token, key="session:a")
    assert not access.is_form_token("ü", key="session:a")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "127.9.9.9"])
def test_without_users_the_page_may_listen_on_this_machine(host: str) -> None:
    Access([], clock=FakeClock()).check_host(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "line-7.plant.example"])
def test_without_users_it_refuses_to_listen_elsewhere_and_with_users_it_does(host: str) -> None:
    with pytest.raises(ConfigError, match=r"add review\.users"):
        Access([], clock=FakeClock()).check_host(host)
    Access(USERS, clock=FakeClock()).check_host(host)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([User("a:b", Role.VIEWER, password_hash("x"))], "without a colon"),
        ([User("", Role.VIEWER, password_hash("x"))], "1 to 64"),
        ([User("a", Role.VIEWER)], "got neither"),
        ([USERS[0], USERS[0]], "each name once"),
        ([User("a", Role.VIEWER, "hunter2")], "another form"),
        ([User("a", Role.VIEWER, token_hash="scrypt$AAAA$AAAA")], "another form"),
    ],
)
def test_users_that_could_never_log_in_are_refused(users: list[User], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Access(users, clock=FakeClock())


def test_tries_refill_with_time_and_debts_have_to_be_paid() -> None:
    clock = FakeClock()
    limit = RateLimit(Rate(per_s=0.5, burst=2), clock=clock)
    limit.spend("a", n=3)
    assert limit.wait_s("a") == pytest.approx(4.0)
    assert limit.wait_s("b") == 0.0
    clock.advance(4.0)
    assert limit.wait_s("a") == 0.0
    clock.advance(1e6)
    limit.spend("a", n=2)
    assert limit.wait_s("a") > 0  # no more than a burst was saved up


def test_the_memory_of_clients_is_bounded() -> None:
    limit = RateLimit(Rate(per_s=1, burst=1), clock=FakeClock())
    for n in range(MAX_CLIENTS + 10):
        limit.spend(f"client {n}")
    assert len(limit._left) == MAX_CLIENTS
