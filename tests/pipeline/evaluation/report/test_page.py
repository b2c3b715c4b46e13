"""The page: one file, complete in both languages, whatever could be measured."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import orjson
import pytest

from pipeline.evaluation.report.figures import Figures
from pipeline.evaluation.report.page import render
from pipeline.evaluation.report.plain import as_plain
from pipeline.evaluation.report.section_mistakes import pictures_of
from tests.pipeline.evaluation.report.making_figures import ABOUT, figures_of, jpeg, make_support, names_of, split_of

VOID = {"meta", "link", "img", "wbr", "br", "rect", "circle", "path", "line"}
SECTIONS = ["accuracy", "matrix", "damage", "classes", "reliability", "learning", "texts", "mistakes", "method"]


class Reader(HTMLParser):
    """Tags in order; refuses a page whose tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def figures() -> Figures:
    return figures_of(make_support())


def page_of(figures: Figures, *, lang: str) -> str:
    return render(figures, about=ABOUT, pictures=dict.fromkeys(pictures_of(figures), jpeg()), lang=lang)


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_page_nests_and_has_every_section(figures: Figures, lang: str) -> None:
    reader = read(page_of(figures, lang=lang))
    assert reader.sections == SECTIONS
    assert ("html", {"lang": lang}) in reader.tags


@pytest.mark.parametrize("lang", ["en", "ja"])
def test_a_page_asks_nothing_of_the_network(figures: Figures, lang: str) -> None:
    page = page_of(figures, lang=lang)
    links = [str(value) for _, attrs in read(page).tags for name, value in attrs.items() if name in {"src", "href"}]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"https?:|url\(|@import|<script", page)


def test_no_sentence_is_left_with_an_open_place(figures: Figures) -> None:
    for lang in ("en", "ja"):
        body = page_of(figures, lang=lang).split("</style>")[1]
        assert not re.search(r"\{\w*\}|nan|None|inf\b", re.sub(r'src="[^"]*"', "", body))


def test_names_are_escaped(figures: Figures) -> None:
    page = page_of(figures, lang="en")
    assert "&lt;caps &amp; lids&gt;" in page
    assert "<caps" not in page


def test_every_plot_has_words_and_a_size(figures: Figures) -> None:
    svgs = [attrs for tag, attrs in read(page_of(figures, lang="ja")).tags if tag == "svg"]
    assert len(svgs) == 8
    assert all(attrs["aria-label"] and int(str(attrs["width"])) > 0 and int(str(attrs["height"])) > 0 for attrs in svgs)


def test_mistakes_come_with_picture_and_reasons(figures: Figures) -> None:
    assert figures.mistakes
    page = page_of(figures, lang="en")
    assert page.count("<article") == len(figures.mistakes)
    assert page.count("data:image/jpeg;base64,") >= len(figures.mistakes)
    assert figures.mistakes == tuple(sorted(figures.mistakes, key=lambda one: -one.confidence))


def test_a_page_without_texts_costs_mistakes_and_curve_says_so() -> None:
    figures = figures_of(make_support(per_class=2, noise=0.01), stated=False)
    page = page_of(figures, lang="en")
    assert [name for name in SECTIONS if name != "texts"] == read(page).sections
    for sentence in ("No costs were stated", "No sealed image was labelled wrongly", "no curve", "or --mix)"):
        assert sentence in page


def test_many_classes_show_those_with_mistakes(figures: Figures) -> None:
    setup = replace(figures.setup, classes=tuple(f"class_{i}" for i in range(30)))
    matrix = figures.comparison.matrix_after
    wide = matrix.repeat(10, axis=0).repeat(10, axis=1)
    many = replace(figures, setup=setup, comparison=replace(figures.comparison, matrix_after=wide, matrix_before=wide))
    assert "Shown are the 20 classes with the most mistakes, of 30" in page_of(many, lang="en")


def test_figures_are_the_same_again_and_plain(figures: Figures) -> None:
    first, second = (orjson.dumps(as_plain(one)) for one in (figures, figures_of(make_support())))
    assert first == second
    said = orjson.loads(first)
    assert said["comparison"]["after"]["n"] == said["setup"]["n_sealed"]
    assert said["setup"]["n_sealed"] + said["setup"]["n_fit"] == 60


def test_sealed_rows_have_no_part_in_the_fit() -> None:
    support = make_support()
    split = split_of(support)
    spoiled = support.features.image.copy()
    spoiled[split.sealed] = spoiled[split.sealed][::-1]
    other = replace(support, features=replace(support.features, image=spoiled))
    first, second = figures_of(support), figures_of(other)
    assert (first.setup.temperature, first.setup.out_of_fold) == (second.setup.temperature, second.setup.out_of_fold)
    assert first.learning == second.learning
    assert [one.at_target.threshold for one in first.per_class] == [one.at_target.threshold for one in second.per_class]
    sealed = {names_of(support)[row] for row in split.sealed}
    assert {one.picture for one in first.mistakes} <= sealed
    assert not {share.name for one in first.mistakes for share in one.explanation.support} & sealed
