"""The page in a real browser: keys, refresh, decisions, both languages, and nothing from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipeline.types import Decision
from tests.workers.review.fake_backend import CLASSES, FakeBackend, jpeg
from tests.workers.review.serving import PASSWORDS, USERS, mounted, serving
from workers.review.access import User
from workers.review.backend import ClassRow

SIZES = ((1280, 800), (1920, 1080), (1024, 768))
PATHS = ("/", "/queue", "/why/cap-02-1-77-full", "/confusion", "/drift", "/heads", "/heads/7/promote")
Open = Callable[..., Any]


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def open_page(browser: Any, backend: FakeBackend) -> Iterator[Open]:
    """Logs in and opens a path; at the end nothing may have come from outside or been complained about."""
    complaints = list[str]()
    asked = list[str]()
    addresses = dict[tuple[User, ...], str]()
    contexts = list[Any]()

    def start(users: tuple[User, ...]) -> str:
        if users not in addresses:
            server = serving(mounted(backend, users=users))
            addresses[users] = server.__enter__()
            servers.append(server)
        return addresses[users]

    def opened(path: str = "/", *, name: str | None = "liu", size: tuple[int, int] = SIZES[0], **more: Any) -> Any:
        url = start(USERS if name else ())
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, **more))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{url}/review{path}")
        if name:
            page.fill("[name=name]", name)
            page.fill("[name=password]", PASSWORDS[name])
            page.press("[name=password]", "Enter")
            page.wait_for_url(f"{url}/review/")
            page.goto(f"{url}/review{path}")
        return page

    servers = list[Any]()
    opened.complaints = complaints  # type: ignore[attr-defined]
    yield opened
    for context in contexts:
        context.close()
    for server in servers:
        server.__exit__(None, None, None)
    assert complaints == []
    assert [url for url in asked if not url.startswith(tuple(addresses.values()))] == []


def _shown(page: Any, event_id: str) -> None:
    page.wait_for_selector(f'#queue[data-shown="{event_id}"]')


def _press(page: Any, backend: FakeBackend, *, place: int, key: str) -> None:
    _shown(page, backend.questions[place].item.event_id)
    page.keyboard.press(key)


def _said(backend: FakeBackend, *, name: str = "liu") -> list[str | None]:
    return [question.answers.get(name) for question in backend.questions]


def test_ten_parts_are_labelled_with_ten_keys(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    keys = "1234512345"
    for place, key in enumerate(keys):
        _press(page, backend, place=place, key=key)
    _shown(page, backend.questions[10].item.event_id)
    page.wait_for_function("document.getElementById('said').textContent.includes('Saved')")
    page.wait_for_load_state("networkidle")
    assert _said(backend) == [CLASSES[int(key) - 1].class_id for key in keys] + [None, None]
    assert page.text_content("#done") == "10 done"
    assert page.text_content("#left") == "2 left"


def test_backspace_goes_back_and_the_new_key_corrects_the_label(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    _press(page, backend, place=0, key="1")
    _press(page, backend, place=1, key="Backspace")
    _shown(page, backend.questions[0].item.event_id)
    assert "You said clean plate" in page.text_content("#again")
    page.keyboard.press("4")
    _shown(page, backend.questions[1].item.event_id)
    page.wait_for_load_state("networkidle")
    assert _said(backend)[:2] == ["gear", None]


def test_space_skips_and_space_after_backspace_keeps_the_label(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    _press(page, backend, place=0, key=" ")
    _press(page, backend, place=1, key="2")
    _press(page, backend, place=2, key="Backspace")
    _press(page, backend, place=1, key=" ")
    _shown(page, backend.questions[2].item.event_id)
    page.wait_for_load_state("networkidle")
    assert _said(backend)[:3] == [None, "scratched_plate", None]
    assert backend.questions[0].skipped == {"liu"}
    assert backend.questions[1].skipped == set()


def test_enter_agrees_with_the_line_where_its_answer_is_shown_and_does_nothing_where_it_is_hidden(
    open_page: Open, backend: FakeBackend
) -> None:
    page = open_page("/queue")
    _press(page, backend, place=0, key="Enter")  # blind: no class is marked
    _press(page, backend, place=0, key="1")
    _shown(page, backend.questions[1].item.event_id)
    assert page.is_visible("#model")
    assert page.text_content(".marked span") == "dented plate"
    page.keyboard.press("Enter")
    _shown(page, backend.questions[2].item.event_id)
    assert not page.is_visible("#model")
    page.wait_for_load_state("networkidle")
    assert _said(backend)[:3] == ["clean_plate", "dented_plate", None]


def test_arrows_mark_a_class_and_enter_confirms_it(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp"):
        _press(page, backend, place=0, key=key)
    page.keyboard.press("Enter")
    _shown(page, backend.questions[1].item.event_id)
    page.wait_for_load_state("networkidle")
    assert _said(backend)[0] == "broken_gear"


def test_a_question_mark_shows_the_keys_and_meanwhile_none_of_them_labels(
    open_page: Open, backend: FakeBackend
) -> None:
    page = open_page("/queue")
    _press(page, backend, place=0, key="?")
    assert page.is_visible("#keys")
    page.keyboard.press("1")
    page.keyboard.press("?")
    assert not page.is_visible("#keys")
    assert _said(backend)[0] is None


def test_a_key_that_is_held_down_labels_one_part(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    _shown(page, backend.questions[0].item.event_id)
    page.keyboard.down("1")
    _shown(page, backend.questions[1].item.event_id)
    page.keyboard.down("1")  # what the keyboard repeats
    page.wait_for_load_state("networkidle")
    assert _said(backend)[:2] == ["clean_plate", None]


def test_a_japanese_input_method_does_not_swallow_the_keys(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue?lang=ja")
    _shown(page, backend.questions[0].item.event_id)
    page.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Process', code: 'Digit2'}))")
    _shown(page, backend.questions[1].item.event_id)
    page.wait_for_load_state("networkidle")
    assert _said(backend)[0] == "scratched_plate"


def test_a_part_that_could_not_be_saved_comes_back(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue")
    _shown(page, backend.questions[0].item.event_id)
    page.route("**/queue/answer", lambda route: route.abort())
    page.keyboard.press("1")
    page.wait_for_selector("#said.bad")
    _shown(page, backend.questions[0].item.event_id)
    assert not page.is_visible("#again")
    page.unroute("**/queue/answer")
    page.wait_for_timeout(200)
    page.keyboard.press("2")
    _shown(page, backend.questions[1].item.event_id)
    page.wait_for_load_state("networkidle")
    assert _said(backend)[0] == "scratched_plate"
    open_page.complaints.clear()  # type: ignore[attr-defined]  # the browser complains about the lost request


def test_without_a_script_a_part_is_labelled_with_the_mouse(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/queue", java_script_enabled=False)
    page.click("text=broken gear")
    page.click("#skip")
    assert _said(backend)[:2] == ["broken_gear", None]
    assert backend.questions[1].skipped == {"liu"}


def test_new_questions_appear_by_themselves(open_page: Open, backend: FakeBackend) -> None:
    questions, backend.questions = backend.questions, []
    page = open_page("/queue")
    assert page.is_visible("#empty")
    backend.questions = questions
    _shown(page, questions[0].item.event_id)
    assert not page.is_visible("#empty")


def test_the_wall_follows_the_line_and_says_when_it_is_lost(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/", name=None)
    backend.pictures["cap-01-1-78-full"] = jpeg(200)
    backend.tiles[0] = replace(
        backend.tiles[0], event_id="cap-01-1-78-full", label="broken_gear", decision=Decision.REJECT, confidence=0.88
    )
    page.wait_for_selector(".tile.reject[data-camera=cap-01] img[src$='cap-01-1-78-full']")
    tile = page.text_content("[data-camera=cap-01]")
    assert all(word in tile for word in ("broken gear", "88%", "Reject", "now"))
    page.route("**/wall.json", lambda route: route.abort())
    page.wait_for_selector("#lost:visible")
    page.unroute("**/wall.json")
    page.wait_for_selector("#lost", state="hidden")
    open_page.complaints.clear()  # type: ignore[attr-defined]  # the browser complains about the lost requests


def test_a_camera_that_stands_still_keeps_no_verdict(open_page: Open, backend: FakeBackend) -> None:
    backend.tiles[0] = replace(backend.tiles[0], age_s=95.0)
    page = open_page("/", name=None)
    tile = page.text_content("[data-camera=cap-01]")
    assert "Old picture" in tile
    assert "1 min ago" in tile
    assert "Accept" not in tile


def test_a_head_is_promoted_only_after_a_second_look(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/heads", name="aoki")
    page.click("a:has-text('Promote')")
    assert page.text_content("h1") == "Make head 7 live?"
    assert "The gate says yes" in page.text_content(".gate")
    assert backend.calls == []
    page.click("text=Promote head 7")
    assert "Head 7 takes over" in page.text_content(".done")
    assert page.text_content("h1") == "Head 7 decides"
    assert backend.calls == [("promote", 7, "aoki")]


def test_a_decision_on_a_page_that_is_out_of_date_is_refused(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/heads/5/promote", name="aoki")
    assert "The gate has not said yes" in page.text_content(".warn")
    backend.approve(7, who="another")
    page.click("button.strong")
    assert "has changed since" in page.text_content("main")
    assert backend.calls == [("approve", 7, "another")]
    open_page.complaints.clear()  # type: ignore[attr-defined]  # a 409


def test_heads_are_approved_rolled_back_frozen_and_thawed(open_page: Open, backend: FakeBackend) -> None:
    page = open_page("/heads", name="aoki")
    for steps in (("Approve", "Approve head 7"), ("Roll back to head 6",) * 2, ("Freeze",), ("Thaw",) * 2):
        for step in steps:
            page.click(f":is(a, button):has-text('{step}') >> nth=0")
    assert [(action, version) for action, version, _ in backend.calls] == [
        ("approve", 7),
        ("roll_back", 6),
        ("freeze", None),
        ("thaw", None),
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_page_fits_the_screen_in_both_languages(
    open_page: Open, backend: FakeBackend, lang: str, size: tuple[int, int]
) -> None:
    page = open_page(f"/?lang={lang}", name="aoki", size=size)
    for path in PATHS:
        page.goto(page.url.split("/review")[0] + "/review" + path)
        assert page.get_attribute("html", "lang") == lang
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert page.evaluate("document.fonts.size >= 0 && document.querySelectorAll('h1').length === 1"), path
    assert ("モデル" in page.text_content("nav")) == (lang == "ja")


@pytest.mark.parametrize("size", SIZES)
def test_the_wall_fits_without_scrolling_and_its_labels_are_read_from_two_metres(
    open_page: Open, size: tuple[int, int]
) -> None:
    page = open_page("/", name=None, size=size)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.name')].map(one => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert min(sizes) >= 28


@pytest.mark.parametrize("size", SIZES)
def test_a_labeller_sees_picture_classes_and_keys_without_scrolling(
    open_page: Open, backend: FakeBackend, size: tuple[int, int]
) -> None:
    backend._classes = tuple(ClassRow(f"class_{n}", f"class number {n}", good=True) for n in range(20))
    page = open_page("/queue", size=size)
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    assert page.text_content("#classes button:nth-child(11) kbd") == "A"
    page.click("#help")
    assert page.is_visible("#keys")


def test_the_language_that_was_chosen_stays(open_page: Open) -> None:
    page = open_page("/drift", name=None)
    page.click("text=日本語")
    page.click("nav a:has-text('モデル')")
    assert page.text_content("h1") == "モデル 6 で判定中"
