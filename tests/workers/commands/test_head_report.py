"""`clearline head report` from a folder to a page, and the page in a real browser."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from pipeline.errors import ClearlineError, ConfigError, SinkError
from pipeline.evaluation.report.page import render
from pipeline.evaluation.report.section_mistakes import pictures_of
from tests.conftest import need
from tests.onnx_files import write_projection
from tests.pipeline.evaluation.report.making_figures import ABOUT, figures_of, jpeg, make_support
from tests.pipeline.heads.making_folders import write_folder
from workers.commands.head import app

CONFIG = """
version: 1
cameras: [{{id: cam, source: {{type: simulate}}}}]
encoder: {{backend: onnx, model: tiny, onnx: {{path: {root}/tiny.onnx, resize_to: 0}}}}
head: {{kind: kernel_ridge, registry: {root}/heads, name: line, cache: {root}/cache}}
decision: {{good_classes: [ok]}}
"""
STATED = ["--costs", "escape=80,overkill=6,mix_up=2,review=1", "--mix", "ok=0.98,dent=0.01,scratch=0.01"]
# letters whose drawing is that of a code point no font has
MISSING = """() => {
  const canvas = document.createElement('canvas'); canvas.width = canvas.height = 48;
  const pen = canvas.getContext('2d', {willReadFrequently: true});
  pen.font = '24px ' + getComputedStyle(document.body).fontFamily;
  const drawn = letter => { pen.clearRect(0, 0, 48, 48); pen.fillText(letter, 8, 32);
    return pen.getImageData(0, 0, 48, 48).data.join(); };
  const nothing = drawn('\\u0378');
  return [...new Set(document.body.innerText)].filter(c => c.trim() && drawn(c) === nothing);
}"""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    write_projection(root / "tiny.onnx", n="n")
    write_folder(root / "images", per_class=10)
    (root / "line.yaml").write_text(CONFIG.format(root=root))
    return root


def run(line: Path, *more: str, out: str = "report.html") -> Result:
    place = ["report", str(line / "images"), "--config", str(line / "line.yaml"), "--out", str(line / out)]
    return CliRunner().invoke(app, [*place, "--draws", "4", *more])


def error_of(result: Result) -> ClearlineError:
    assert isinstance(result.exception, ClearlineError), result.output
    return result.exception


def test_a_folder_becomes_a_page_and_figures(line: Path) -> None:
    result = run(line, "--json", *STATED)
    assert result.exit_code == 0, result.output
    said = orjson.loads(result.stdout)
    page = (line / "report.html").read_text(encoding="utf-8")
    assert said["setup"]["n_fit"] + said["setup"]["n_sealed"] == 30
    assert said["comparison"]["after"]["n"] == said["setup"]["n_sealed"]
    assert said["damages"][1]["plan"]["currency"] == "EUR"
    assert "Visual inspection: acceptance report" in page
    assert f"{said['setup']['n_sealed']} of 30 source images were sealed" in page


def test_japanese_and_a_line_for_people(line: Path) -> None:
    result = run(line, "--lang", "ja", "--kind", "gda", out="ja.html")
    assert result.exit_code == 0, result.output
    assert "sealed images" in result.output
    page = (line / "ja.html").read_text(encoding="utf-8")
    assert '<html lang="ja">' in page
    assert "見逃し・過検出とその費用" in page


def test_costs_and_mix_of_the_configuration_serve_where_the_command_states_none(line: Path) -> None:
    plain = (line / "line.yaml").read_text()
    more = "costs: {escape: 50, currency: JPY}, line_mix: {ok: 8, dent: 1, scratch: 1}"
    (line / "stated.yaml").write_text(plain.replace("good_classes: [ok]", f"good_classes: [ok], {more}"))
    place = ["report", str(line / "images"), "--config", str(line / "stated.yaml"), "--out", str(line / "stated.html")]
    result = CliRunner().invoke(app, [*place, "--draws", "4", "--json"])
    assert result.exit_code == 0, result.output
    said = orjson.loads(result.stdout)
    assert (said["setup"]["costs"]["escape"], said["setup"]["costs"]["currency"]) == ([50, 50], "JPY")
    assert dict(said["damages"][2]["plan"]["mix"]) == pytest.approx({"ok": 0.8, "dent": 0.1, "scratch": 0.1})


def test_the_same_pictures_are_sealed_whatever_they_are_called(line: Path, tmp_path: Path) -> None:
    first = orjson.loads(run(line, "--json").stdout)
    shutil.copytree(line / "images", tmp_path / "images")
    for path in (tmp_path / "images").rglob("*.png"):
        path.rename(path.with_name(f"x{999 - int(path.stem[-3:])}.png"))
    for name in ("tiny.onnx", "line.yaml"):
        shutil.copy(line / name, tmp_path / name)
    second = orjson.loads(run(tmp_path, "--json").stdout)
    counts = [[(one["n_fit"], one["n_sealed"]) for one in said["per_class"]] for said in (first, second)]
    assert counts[0] == counts[1]
    assert first["comparison"]["after"] == second["comparison"]["after"]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (["--lang", "de"], ConfigError, "expected one of en, ja"),
        (["--costs", "escape=80"], ConfigError, "state all four"),
        (["--costs", "escape"], ConfigError, "expected name=number"),
        (["--mix", "ok=0.5,dent=0.5"], ConfigError, "expected one share per class"),
        (["--kind", "forest"], ClearlineError, "expected a head of"),
    ],
)
def test_what_cannot_be_used_is_refused(
    line: Path, options: list[str], kind: type[ClearlineError], message: str
) -> None:
    error = error_of(run(line, *options))
    assert isinstance(error, kind)
    assert message in str(error)


def test_a_folder_that_is_not_there_is_refused_before_the_work(line: Path) -> None:
    error = error_of(run(line, out="nowhere/report.html"))
    assert isinstance(error, SinkError)
    assert "make the folder" in str(error)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's own Chromium; nothing is downloaded."""
    chromium = shutil.which("chromium")
    need(chromium is not None, what="a browser", how="apt-get install chromium fonts-noto-cjk")
    need(importlib.util.find_spec("playwright") is not None, what="playwright", how="pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Everything a report can hold, in both languages."""
    folder, figures = tmp_path_factory.mktemp("pages"), figures_of(make_support())
    pictures = dict.fromkeys(pictures_of(figures), jpeg(side=320))
    for lang in ("en", "ja"):
        (folder / f"{lang}.html").write_text(
            render(figures, about=ABOUT, pictures=pictures, lang=lang), encoding="utf-8"
        )
    return {lang: folder / f"{lang}.html" for lang in ("en", "ja")}


@pytest.mark.parametrize("lang", ["en", "ja"])
@pytest.mark.parametrize("width", [1280, 800])
def test_a_browser_shows_the_page_whole(browser: Any, pages: dict[str, Path], lang: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[lang].as_uri())
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().toJSON())")
    assert len(sizes) == 8
    assert all(size["width"] > 100 and size["height"] > 60 and size["right"] <= width for size in sizes)
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    outside = """() => [...document.querySelectorAll('svg')].filter(s => [...s.querySelectorAll('text')].some(t => {
      const a = s.getBoundingClientRect(), b = t.getBoundingClientRect();
      return b.left < a.left - 1 || b.right > a.right + 1 || b.bottom > a.bottom + 1; })).map(s => s.outerHTML)"""
    assert page.evaluate(outside) == []
    spilled = "[...document.querySelectorAll('.tile')].filter(t => t.scrollWidth > t.clientWidth).map(t => t.innerText)"
    assert page.evaluate(spilled) == []
    page.close()


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_every_letter_has_a_glyph(browser: Any, pages: dict[str, Path], lang: str) -> None:
    page = browser.new_page()
    page.goto(pages[lang].as_uri())
    assert page.evaluate(MISSING) == []
    page.close()


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_it_prints_on_a4(browser: Any, pages: dict[str, Path], lang: str) -> None:
    page = browser.new_page(viewport={"width": 688, "height": 1000})  # A4 less its margins
    page.emulate_media(media="print")
    page.goto(pages[lang].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    assert page.pdf(prefer_css_page_size=True)[:5] == b"%PDF-"
    page.close()
