"""`clearline head report`: what a few labelled images say about a head, as one page for a meeting."""

from __future__ import annotations

import hashlib
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import orjson
import typer

from pipeline.decision import CostMatrix, DecisionPolicy
from pipeline.errors import ConfigError, SinkError

if TYPE_CHECKING:
    from pipeline.decision import HeldOut
    from pipeline.evaluation.report.figures import Figures, Given
    from workers.commands.head_support import OpenedSupport, Progress
    from workers.config.decision import DecisionConfig
    from workers.config.line import LineConfig

COSTS = ("escape", "overkill", "mix_up", "review")
JPEG_QUALITY = 85
DRAWS = 8  # of the learning curve, four fits each
DRAWS_OF_SLOW = {"deconfusion": 4}  # one fit takes seconds

Images = Annotated[Path, typer.Argument(help="A folder with one folder of images per class.")]
Config = Annotated[Path, typer.Option(help="The line's configuration: its encoder, texts, head and decisions.")]
Out = Annotated[Path, typer.Option(help="The HTML file to write.")]
Lang = Annotated[str, typer.Option(help="en or ja.")]
KindOption = Annotated[str | None, typer.Option("--kind", help="Kind of head; default: the configured one.")]
Costs = Annotated[
    str | None, typer.Option(help="Money per part, instead of decision.costs: escape=80,overkill=6,mix_up=2,review=1.")
]
Currency = Annotated[str, typer.Option(help="Of --costs, three letters.")]
Mix = Annotated[
    str | None, typer.Option(help="Shares of the line's parts, instead of decision.line_mix: ok=0.98,dent=0.02.")
]
Least = Annotated[float, typer.Option(min=0, max=1, help="Accuracy that the sealed images have to show.")]
Precision = Annotated[float, typer.Option(min=0, max=1, help="Target of each label's threshold.")]
Draws = Annotated[int | None, typer.Option(min=1, help="Draws of the learning curve; default: 8, slow kinds 4.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the folds, the draws and the training.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")]


def head_report(
    images: Images,
    *,
    config: Config,
    out: Out = Path("report.html"),
    lang: Lang = "en",
    kind: KindOption = None,
    costs: Costs = None,
    currency: Currency = "EUR",
    mix: Mix = None,
    least: Least = 0.9,
    precision: Precision = 0.95,
    draws: Draws = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Fit on some of the images, judge on the sealed rest, and write what that shows into one HTML file."""
    from pipeline.evaluation.report.plain import as_plain
    from pipeline.evaluation.report.wording import words
    from workers.commands.head_support import open_support, progress_shown
    from workers.config.line import load_config

    loaded, say = load_config(config), words(lang)
    _require_folder(out)
    asked = _asked(loaded, kind=kind, mix=mix, draws=draws, seed=seed)
    asked = replace(asked, least=least, precision=precision)
    with progress_shown() as progress:
        opened = open_support(images, config=loaded, progress=progress)
        classes = opened.support.features.classes
        given = _priced(asked, decision=loaded.decision, costs=costs, currency=currency, classes=classes)
        figures = _figures(opened, given=given, progress=progress)
    _write(out, figures=figures, opened=opened, config=loaded, lang=say.lang)
    print(orjson.dumps({"report": str(out), **as_plain(figures)}).decode() if as_json else _summary(figures, out=out))


def _asked(config: LineConfig, *, kind: str | None, mix: str | None, draws: int | None, seed: int) -> Given:
    from pipeline.evaluation.report.figures import Given
    from workers.opening.decision import plain_policy

    chosen, decision = kind or config.head.kind, config.decision
    total = sum(decision.line_mix.values())
    line_mix = {name: part / total for name, part in decision.line_mix.items()} or None
    return Given(
        good_classes=frozenset(decision.good_classes),
        policy=lambda _held_out, _temperature: plain_policy(decision),
        mix=line_mix if mix is None else _numbers(mix, option="--mix"),
        kind=chosen,
        n_draws=draws or DRAWS_OF_SLOW.get(chosen, DRAWS),
        seed=seed,
    )


def _figures(opened: OpenedSupport, *, given: Given, progress: Progress) -> Figures:
    from pipeline.evaluation.report.acceptance import seal
    from pipeline.evaluation.report.figures import make_figures
    from pipeline.heads.fitted import Material

    support, texts = opened.support, opened.texts
    rows = support.features
    for bad in support.bad:
        typer.echo(f"left out, unreadable: {bad.path} (class {bad.class_id}): {bad.reason}", err=True)
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in support.files]
    return make_figures(
        rows,
        split=seal(rows.labels, groups=rows.groups, contents=contents, classes=rows.classes),
        pictures=tuple(_name(path) for path in support.files),
        given=given,
        material=Material(text=texts.names, coder=texts.coder),
        texts=texts.index,
        on_progress=progress,
    )


def _write(out: Path, *, figures: Figures, opened: OpenedSupport, config: LineConfig, lang: str) -> None:
    from pipeline.evaluation.report.page import About, render
    from pipeline.evaluation.report.section_mistakes import pictures_of
    from pipeline.heads.bundles.atomic import write_atomic
    from workers.clock import SystemClock

    about = About(
        line=config.head.name,
        encoder=opened.encoder.image.info.name,
        date=datetime.fromtimestamp(SystemClock().utc(), UTC).date().isoformat(),
        command=shlex.join(["clearline", *sys.argv[1:]]),
    )
    files = {_name(path): path for path in opened.support.files}
    pictures = {name: _thumbnail(files[name], side=side) for name, side in pictures_of(figures).items()}
    page = render(figures, about=about, pictures=pictures, lang=lang)
    try:
        write_atomic(out, content=page.encode())
    except OSError as error:
        raise SinkError(f"{out}: expected a file that can be written, got: {error.strerror}") from error


def _thumbnail(path: Path, *, side: int) -> bytes:
    """A JPEG whose longer side is at most `side` px; the file was read before, so it is a picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    factor = min(1.0, side / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _summary(figures: Figures, *, out: Path) -> str:
    found = figures.comparison.after
    low, high = found.interval
    state = "good enough to trial" if figures.verdict.ready else f"not yet ({figures.verdict.reason})"
    shown = f"{100 * found.value:.1f} % right, 95 % interval {100 * low:.1f} to {100 * high:.1f}"
    return f"{out}: {state}; {shown}, on {found.n} sealed images"


def _priced(
    asked: Given, *, decision: DecisionConfig, costs: str | None, currency: str, classes: tuple[str, ...]
) -> Given:
    """With the costs of the command, else of the configuration, and the policy that follows from held-out rows."""
    from workers.opening.decision import cost_matrix, decision_policy

    def policy(held_out: HeldOut | None, temperature: float) -> DecisionPolicy:
        return decision_policy(decision, classes=classes, held_out=held_out, temperature=temperature).policy

    given = replace(asked, policy=policy)
    if costs is not None:
        return replace(given, costs=_matrix(costs, good=given.good_classes, currency=currency, classes=classes))
    if decision.costs is None:
        return given
    return replace(given, costs=cost_matrix(decision.costs, classes=classes, good=decision.good_classes))


def _matrix(text: str, *, good: frozenset[str], currency: str, classes: tuple[str, ...]) -> CostMatrix:
    stated = _numbers(text, option="--costs")
    if set(stated) != set(COSTS):
        raise ConfigError(f"--costs: expected {'=..,'.join(COSTS)}=.., got {text}; state all four")
    return CostMatrix.build(
        classes,
        good_classes=good,
        escape=stated["escape"],
        overkill=stated["overkill"],
        mix_up=stated["mix_up"],
        review=stated["review"],
        currency=currency,
    )


def _numbers(text: str, *, option: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError as error:
        raise ConfigError(f"{option}: expected name=number, comma-separated, got {text}") from error


def _require_folder(out: Path) -> None:
    """Before minutes are spent."""
    if out.is_dir() or not out.parent.is_dir():
        raise SinkError(f"--out {out}: expected a file in a folder that exists, got {out.parent}; make the folder")


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
