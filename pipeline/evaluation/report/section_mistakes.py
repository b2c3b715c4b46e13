"""The worst mistakes, each with its picture and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from pipeline.attribution import SupportShare, TextShare
from pipeline.evaluation.report.figures import Figures
from pipeline.evaluation.report.markup import image, paragraph, section
from pipeline.evaluation.report.mistakes import Mistake
from pipeline.evaluation.report.wording import Words

LARGE_PX, SMALL_PX = 480, 96  # of a mistake, of a labelled image beside it


def mistakes_section(figures: Figures, *, pictures: Mapping[str, bytes], say: Words) -> str:
    """One card per mistake."""
    after = figures.comparison.after
    if not figures.mistakes:
        return section(say("mistakes_head"), name="mistakes", parts=[paragraph(say("mistakes_none"))])
    intro = say("mistakes_text", n=len(figures.mistakes), n_all=after.n - after.n_right)
    cards = "".join(_card(one, pictures=pictures, say=say) for one in figures.mistakes)
    return section(say("mistakes_head"), name="mistakes", parts=[paragraph(intro), f'<div class="cards">{cards}</div>'])


def pictures_of(figures: Figures) -> dict[str, int]:
    """Names of the files a page of these figures shows, with the length of their longer side, px."""
    named = {share.name: SMALL_PX for one in figures.mistakes for share in one.explanation.support}
    return named | {one.picture: LARGE_PX for one in figures.mistakes}


def _card(one: Mistake, *, pictures: Mapping[str, bytes], say: Words) -> str:
    why = one.explanation
    shown = (
        image(pictures[one.picture], alt=say("mistake_picture", name=one.picture)) if one.picture in pictures else ""
    )
    confidence = say(
        "mistake_confidence", confidence=say.percent(one.confidence), truth=say.percent(one.truth_confidence)
    )
    margin = say(
        "mistake_margin",
        rival=why.rival,
        margin=_signed(why.margin),
        raw=_signed(why.raw_margin),
        removed=_signed(why.removed),
    )
    support = say("mistake_support" if why.support_is_exact else "mistake_likeness")
    parts = [
        f"<h3>{escape(say('mistake_title', truth=one.truth, called=one.predicted))}</h3>",
        paragraph(confidence),
        paragraph(margin),
        _reasons(say("mistake_texts"), shares=why.texts, pictures={}),
        _reasons(support, shares=why.support, pictures=pictures),
        paragraph(one.picture, kind="note"),
    ]
    return f'<article class="card">{shown}<div class="body">{"".join(parts)}</div></article>'


def _reasons(title: str, *, shares: Sequence[TextShare | SupportShare], pictures: Mapping[str, bytes]) -> str:
    if not shares:
        return ""
    items = []
    for one in shares:
        name = one.phrase if isinstance(one, TextShare) else one.name
        thumb = image(pictures[name], alt="") if name in pictures else ""
        kind = "pro" if one.contribution > 0 else "contra"
        items.append(
            f'<li>{thumb}<span class="what">{escape(name)}</span>'
            f'<span class="much {kind}">{escape(_signed(one.contribution))}</span></li>'
        )
    return f'<h3>{escape(title)}</h3><ul class="reasons">{"".join(items)}</ul>'


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
