"""Pieces of HTML that all sections share."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from pipeline.decision.plan import Estimate
from pipeline.evaluation.report.comparison import Counted
from pipeline.evaluation.report.wording import Words

Cell = str  # HTML already


def paragraph(content: str, *, kind: str = "") -> str:
    """Plain text as a paragraph."""
    return f"<p{_class(kind)}>{escape(content)}</p>"


def section(title: str, *, name: str, parts: Sequence[str]) -> str:
    """With its heading; `name` is its anchor."""
    head = f'<h2 id="{name}-h">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{head}{"".join(parts)}</section>'


def figure(svg: str, *, caption: str = "") -> str:
    """A plot."""
    head = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{head}{svg}</figure>"


def pair(first: str, second: str, *, kind: str = "") -> str:
    """Side by side where there is room."""
    return f'<div class="{f"pair {kind}".strip()}"><div>{first}</div><div>{second}</div></div>'


def table(head: Sequence[str], *, rows: Sequence[Sequence[Cell]], caption: str = "") -> str:
    """Cells are HTML, headings are text; the first column heads its row."""
    titled = f"<caption>{escape(caption)}</caption>" if caption else ""
    top = "".join(f'<th scope="col">{escape(one)}</th>' if one else "<td></td>" for one in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{titled}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def breakable(name: str) -> Cell:
    """A class id that may be broken at its underscores."""
    return escape(name).replace("_", "_<wbr>")


def with_range(value: str, *, interval: str) -> Cell:
    """A figure over its interval."""
    return f'{escape(value)}<span class="range">{escape(interval)}</span>'


def share(one: Counted, *, say: Words) -> Cell:
    """k of n as a share over its interval."""
    if not one.n:
        return escape(say("none"))
    counts, ends = say("k_of_n", k=one.k, n=one.n), say.interval(one.low, high=one.high, digits=0)
    spans = f"<span>{escape(counts)}{escape(say('list_join'))}</span><span>{escape(ends)}</span>"
    return f'{escape(say.percent(one.value))}<span class="range">{spans}</span>'


def estimate(one: Estimate, *, say: Words) -> Cell:
    """Per 1,000 parts over its interval."""
    return with_range(say.amount(one.value), interval=say.amounts(one.low, high=one.high))


def tile(what: str, *, value: str, interval: str) -> str:
    """One of the figures on top."""
    body = ((what, "what"), (value, "value"), (interval, "range"))
    return f'<div class="tile">{"".join(f"""<div class="{kind}">{escape(text)}</div>""" for text, kind in body)}</div>'


def image(content: bytes, *, alt: str) -> str:
    """A JPEG inside the page."""
    return f'<img src="data:image/jpeg;base64,{b64encode(content).decode()}" alt="{escape(alt)}">'


def way_name(way: str, *, prior: str, say: Words) -> str:
    """Before, after, or after with reviews."""
    return say(way, prior=say(f"prior_{prior}"))


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
