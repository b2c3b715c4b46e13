"""The report as one HTML file: verdict on top, then sections, each with its plot, its numbers and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from pipeline.evaluation.report.figures import Figures
from pipeline.evaluation.report.markup import paragraph, section, tile
from pipeline.evaluation.report.section_judgement import accuracy_section, damage_section, matrix_section
from pipeline.evaluation.report.section_learning import learning_section, texts_section
from pipeline.evaluation.report.section_mistakes import mistakes_section
from pipeline.evaluation.report.section_trust import classes_section, reliability_section
from pipeline.evaluation.report.style import CSS
from pipeline.evaluation.report.wording import Words, words


@dataclass(frozen=True, slots=True)
class About:
    """What the page says about itself."""

    line: str
    encoder: str
    date: str
    command: str  # that makes the page again


def render(figures: Figures, *, about: About, pictures: Mapping[str, bytes], lang: str) -> str:
    """The whole page; `pictures` are small JPEGs by file name, and one that is missing is left out."""
    say = words(lang)
    parts = [
        _header(figures, about=about, say=say),
        _verdict(figures, say=say),
        _tiles(figures, say=say),
        accuracy_section(figures, say=say),
        matrix_section(figures, say=say),
        damage_section(figures, say=say),
        classes_section(figures, say=say),
        reliability_section(figures, say=say),
        learning_section(figures, say=say),
        texts_section(figures, say=say),
        mistakes_section(figures, pictures=pictures, say=say),
        _method(figures, about=about, say=say),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(say("title"))}: {escape(about.line)}</title><link rel="icon" href="data:,">'
        f"<style>{CSS}</style>"
    )
    body = "\n".join(part for part in parts if part)
    content = f"<head>{head}</head>\n<body>\n<main>\n{body}\n</main>\n</body>"
    return f'<!DOCTYPE html>\n<html lang="{lang}">\n{content}\n</html>\n'


def _header(figures: Figures, *, about: About, say: Words) -> str:
    setup = figures.setup
    subtitle = say(
        "subtitle",
        line=about.line,
        date=about.date,
        n_images=setup.n_fit + setup.n_sealed,
        n_classes=len(setup.classes),
        kind=setup.kind,
        encoder=about.encoder,
    )
    return f"<header><h1>{escape(say('title'))}</h1>{paragraph(subtitle, kind='subtitle')}</header>"


def _verdict(figures: Figures, *, say: Words) -> str:
    found, after, setup = figures.verdict, figures.comparison.after, figures.setup
    low, high = after.interval
    sentence = say(
        f"verdict_{found.reason}",
        value=say.percent(after.value),
        interval=say.interval(low, high=high),
        n=after.n,
        least=say.percent(found.least, digits=0),
    )
    more = []
    if found.reason == "too_few" and found.images_needed is not None:
        share = setup.n_sealed / (setup.n_sealed + setup.n_fit)
        more.append(say("verdict_needed", n=found.images_needed, n_all=round(found.images_needed / share)))
    done = figures.damages[1]
    cost = done.plan.cost
    money = say(
        "verdict_money",
        value=say("money", value=say.amount(cost.value), currency=done.plan.currency),
        interval=say.amounts(cost.low, high=cost.high),
    )
    more.append(
        say(
            "verdict_harm",
            defects=done.escapes.n,
            escapes=done.escapes.k,
            goods=done.overkill.n,
            overkill=done.overkill.k,
            money=money if setup.costs is not None else "",
        )
    )
    kind = {"ready": "ready", "too_few": "wait"}.get(found.reason, "stop")
    body = paragraph(sentence, kind="main") + "".join(paragraph(one) for one in more)
    return f'<div class="verdict {kind}" role="status">{body}</div>'


def _tiles(figures: Figures, *, say: Words) -> str:
    found, plan = figures.comparison, figures.damages[1].plan
    low, high = found.after.interval
    tiles = [
        tile(
            say("tile_accuracy"),
            value=say.percent(found.after.value),
            interval=say("tile_interval", interval=say.interval(low, high=high)),
        ),
        tile(
            say("tile_gain", prior=say(f"prior_{figures.setup.prior}")),
            value=say.signed(found.gain.value),
            interval=say(
                "tile_interval", interval=say.points_interval(found.gain.interval[0], high=found.gain.interval[1])
            ),
        ),
    ]
    shown = [("tile_escapes", plan.escapes), ("tile_overkill", plan.overkill)]
    shown += [("tile_cost", plan.cost)] if figures.setup.costs is not None else []
    for key, one in shown:
        value = say.amount(one.value)
        tiles.append(
            tile(
                say(key),
                value=say("money", value=value, currency=plan.currency) if key == "tile_cost" else value,
                interval=say("tile_interval", interval=say.amounts(one.low, high=one.high)),
            )
        )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _method(figures: Figures, *, about: About, say: Words) -> str:
    setup = figures.setup
    n_images = setup.n_fit + setup.n_sealed
    fitted = say(
        "method_fit", n_fit=setup.n_fit, folds=say(f"folds_{setup.folds}"), temperature=f"{setup.temperature:.2f}"
    )
    again = escape(say("method_again", command="\0")).replace("\0", f"<code>{escape(about.command)}</code>")
    parts = [
        paragraph(say("method_split", n_sealed=setup.n_sealed, n_images=n_images)),
        paragraph(fitted),
        paragraph(say("method_limits")),
        *(paragraph(note, kind="note") for note in setup.notes if say.lang == "en"),  # a fit's own words
        f'<p class="note">{again}</p>',
    ]
    return section(say("method_head"), name="method", parts=parts)
