"""The loop away from the line: what an inference worker has beside it, and what the recalibration worker is made of."""

from __future__ import annotations

import functools
from collections.abc import Callable

from pipeline.encoders.build import EncoderBundle
from pipeline.heads.bundles import registry
from pipeline.interfaces import Clock
from workers.adaptation.carrying import Receiver, Sender
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.live_file import is_safe, write_safe
from workers.adaptation.tap import Tap
from workers.backoff import Backoff
from workers.clock import SystemClock
from workers.config.line import LineConfig
from workers.following import HeadFollower, Wanted
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics
from workers.opening.kafka import OUTBOX_RETRY_S, AdaptationTopics, connection_of, embeddings_topic, producer_of
from workers.opening.line import open_head


def open_follower(
    config: LineConfig, *, encoder: EncoderBundle, live: LiveHead, swap: Callable[[LiveHead], None]
) -> HeadFollower | None:
    """None where the configuration pins the head, or there is no registry of it."""
    if config.head.kind == "zero_shot" or config.head.version != "live":
        return None
    folder = config.head.registry / config.head.name
    files = None if config.adaptation is None else AdaptationFiles(config.adaptation.folder)

    def wanted() -> Wanted:
        version, sha256 = registry.live_version(folder)
        return version, sha256, files is not None and is_safe(files.safe, version=version)

    identity = live.decider.identity
    return HeadFollower(
        wanted=wanted,
        load=functools.partial(_loaded, config, encoder),
        swap=swap,
        now=(identity.version, identity.bundle_sha256, False),
    )


def _loaded(config: LineConfig, encoder: EncoderBundle, wanted: Wanted) -> LiveHead:
    from workers.adaptation.acting import safe_policy
    from workers.opening.adaptation import SAFE_LEAST

    version, _, safe = wanted
    head = config.head.model_copy(update={"version": version})
    live = open_head(config.model_copy(update={"head": head}), encoder=encoder).live
    return safe_policy(live, least=SAFE_LEAST) if safe else live


def open_sender(
    config: LineConfig, *, tap: Tap, follower: HeadFollower | None, clock: Clock, metrics: Metrics
) -> Sender:
    """What an inference worker has beside it where it has a section `adaptation`."""
    return Sender(
        tap,
        producer=producer_of(config),
        topic=embeddings_topic(config),
        backoff=_backoff(),
        clock=clock,
        look=(lambda: None) if follower is None else follower.look,
        left_out=lambda n: metrics.adaptation("adaptation_left_out_total", n),
    )


def open_receiver(config: LineConfig, *, tap: Tap, clock: Clock, metrics: Metrics) -> Receiver:
    """The topic of decided batches, into the tap."""
    _, connection = connection_of(config)
    return Receiver(
        tap.batches,
        connection=connection,
        topic=embeddings_topic(config),
        group=f"clearline-recalibrate-{config.head.name}",
        backoff=_backoff(),
        clock=clock,
        unreadable=lambda: metrics.adaptation("adaptation_unreadable_total", 1),
    )


def open_topics(config: LineConfig, *, encoder: EncoderBundle) -> AdaptationTopics | None:
    """Alarms and heads out, labels in; None without a broker."""
    if config.kafka is None:
        return None
    from workers.opening.review import open_answers

    answers = functools.cache(lambda: open_answers(config, encoder=encoder, clock=SystemClock()))
    return AdaptationTopics(config, write_down=lambda label: answers().take([label]), clock=SystemClock())


def tell_lines(files: AdaptationFiles) -> Callable[[LiveHead], None]:
    """The loop's `swap` where the lines are other processes: they follow the registry and this file."""

    def swap(live: LiveHead) -> None:
        write_safe(files.safe, version=live.decider.identity.version, safe=live.safe)

    return swap


def _backoff() -> Backoff:
    return Backoff(initial_s=OUTBOX_RETRY_S[0], cap_s=OUTBOX_RETRY_S[1])
