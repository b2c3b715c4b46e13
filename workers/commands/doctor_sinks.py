"""What `clearline doctor` and `validate --deep` ask of sinks towards other machines."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pipeline.errors import ConfigError
from workers.config.line import ArchiveSinkConfig, LineConfig, MqttSinkConfig, OpcUaSinkConfig
from workers.doctor import surroundings
from workers.doctor.finding import Check, Finding, State, bad, ok
from workers.opening.mqtt import mqtt_connection
from workers.opening.sinks import remote_store
from workers.sinks.archive_remote import demand_library

REMOTE_S = 45.0  # several time-outs of a file server that is away
PROBE = f"{'0' * 40}.jpg"  # no picture's hash; written, read and removed again
_LIBRARIES = {"mqtt": "paho.mqtt", "opcua": "asyncua"}


def extras_of(config: LineConfig) -> list[str]:
    """Extras of the package that the sinks need."""
    distant = any(isinstance(sink, ArchiveSinkConfig) and sink.local_folder is None for sink in config.sinks)
    return [sink.type for sink in config.sinks if sink.type in _LIBRARIES] + ["fsspec"] * distant


def sink_checks(config: LineConfig) -> Iterator[Check]:
    """One for each that needs somebody else, or a port."""
    for sink in config.sinks:
        if isinstance(sink, MqttSinkConfig):
            yield Check("mqtt", partial(_look_at_mqtt, sink), 3 * sink.timeout_ms / 1e3)
        elif isinstance(sink, OpcUaSinkConfig):
            yield Check("opcua", partial(_look_at_port, sink), REMOTE_S)
        elif isinstance(sink, ArchiveSinkConfig) and sink.local_folder is None:
            yield Check("archive", partial(_look_at_archive, sink), REMOTE_S)


def sink_problems(config: LineConfig) -> Iterator[tuple[str, str]]:
    """(key, sentence) of what would fail at the start."""
    for index, sink in enumerate(config.sinks):
        key = f"sinks[{index}]"
        library = _LIBRARIES.get(sink.type, "")
        if library and importlib.util.find_spec(library.partition(".")[0]) is None:
            yield f"{key}.type", f"{sink.type} needs pip install 'clearline[{sink.type}]'"
        if isinstance(sink, OpcUaSinkConfig) and sink.port == config.server.port:
            yield f"{key}.port", f"is {sink.port}, which is server.port already: choose another"
        if isinstance(sink, ArchiveSinkConfig) and sink.local_folder is None:
            try:
                demand_library(sink.folder)
            except ConfigError as error:
                yield f"{key}.folder", f"cannot be reached: {error}"


def _look_at_mqtt(sink: MqttSinkConfig) -> Finding:
    """With a name of its own, since a second client of one name ends the first."""
    connection = replace(mqtt_connection(sink), client_id=f"{sink.client_id}-doctor", status_topic="")
    connection.open().close()
    return ok("mqtt", f"{sink.host}:{sink.port} answers and lets us in{'' if sink.tls is None else ', over TLS'}")


def _look_at_port(sink: OpcUaSinkConfig) -> Finding:
    found = replace(surroundings.port(host=sink.host, port=sink.port), name="opcua")
    advice = "a line that runs already, or another program, has it: stop that, or set port of the sink"
    return replace(found, advice=advice) if found.state is State.BAD else found


def _look_at_archive(sink: ArchiveSinkConfig) -> Finding:
    store = remote_store(sink)
    try:
        store.prepare()
        store.write(PROBE, content=PROBE.encode())
        whole = store.read(PROBE) == PROBE.encode()
        store.remove(PROBE)
    except OSError as error:
        advice = "is it up, reachable, and do the options_file and its rights fit?"
        return bad("archive", f"{sink.folder}: {error.strerror or error}", advice=advice)
    if not whole:
        return bad("archive", f"{sink.folder}: does not give back what was written", advice="look at that server")
    return ok("archive", f"{sink.folder}: can be written, read and cleaned")
