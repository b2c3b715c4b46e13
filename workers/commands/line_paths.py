"""The paths that a configuration makes the line write to."""

from __future__ import annotations

from workers.config.line import ArchiveSinkConfig, JsonlSinkConfig, LineConfig, OpcUaSinkConfig
from workers.doctor.disk import Place


def written_places(config: LineConfig) -> list[Place]:
    """Each with its key and how much may come to lie there."""
    places = []
    for index, sink in enumerate(config.sinks):
        if isinstance(sink, JsonlSinkConfig):
            places.append(Place(f"sinks[{index}].path", sink.path, False, sink.rotate_mb * 1e6 * (sink.keep + 1)))
        elif isinstance(sink, ArchiveSinkConfig):
            if sink.local_folder is None:
                places.append(Place(f"sinks[{index}].index", sink.index, True))
            else:
                places.append(Place(f"sinks[{index}].folder", sink.local_folder, True, sink.max_gb * 1e9))
        elif not isinstance(sink, OpcUaSinkConfig) and sink.outbox is not None:
            places.append(Place(f"sinks[{index}].outbox.path", sink.outbox.path, False, sink.outbox.max_mb * 1e6))
    places += [Place("head.cache", config.head.cache, True)]
    if config.head.kind != "zero_shot":
        places.append(Place("head.registry", config.head.registry, True))
    if config.asks_for_first_pictures:
        places.append(Place("review.labelled", config.review.labelled, True))
    if (given := config.adaptation) is not None:
        places.append(Place("adaptation.folder", given.folder, True, given.recording.max_gb * 1e9))
    return places
