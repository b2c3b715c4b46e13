"""A Kafka cluster in this process over real TCP, whose faults a test can switch: librdkafka's mock cluster.

It answers most requests as a broker does, but keeps at most 5 MiB a partition and no transaction's isolation:
good for injected faults, no replacement for `tests/servers/kafka.py`. kafka-python needs `api_version=(2, 3)` with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from types import TracebackType

from confluent_kafka import cimpl

PRODUCER = 0  # rd_kafka_type_t
API_VERSION = (2, 3)  # what kafka-python must be told
PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9  # request kinds, api_key
NOT_LEADER, REQUEST_TIMED_OUT, TOPIC_AUTHORIZATION_FAILED = 6, 7, 29  # error codes of the protocol


@cache
def library() -> ctypes.CDLL:
    """librdkafka, as the wheel of confluent-kafka brings it."""
    found = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    signatures: dict[str, tuple[type | None, list[type]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_new": (pointer, [number, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, number]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (number, [pointer, text, number, number]),
        "rd_kafka_mock_broker_set_down": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (number, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (number, [pointer, ctypes.c_int32, number]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(number)],
        ),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


class MockCluster:
    """`n_brokers` brokers, numbered from 1, until the block ends."""

    def __init__(self, n_brokers: int = 1) -> None:
        self.n_brokers = n_brokers

    def __enter__(self) -> MockCluster:
        library_ = library()
        said = ctypes.create_string_buffer(512)
        self._client = library_.rd_kafka_new(PRODUCER, library_.rd_kafka_conf_new(), said, len(said))
        assert self._client, said.value
        self._cluster = library_.rd_kafka_mock_cluster_new(self._client, self.n_brokers)
        assert self._cluster
        self.bootstrap: str = library_.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        library().rd_kafka_mock_cluster_destroy(self._cluster)
        library().rd_kafka_destroy(self._client)

    def create_topic(self, name: str, *, n_partitions: int = 1) -> None:
        """One replica on each broker; a topic that is not created comes to be with 4 partitions at its first use."""
        create = library().rd_kafka_mock_topic_create
        self._demand(create(self._cluster, name.encode(), n_partitions, self.n_brokers))

    def broker_down(self, broker: int = 1) -> None:
        """Cut its connections and take no new ones."""
        self._demand(library().rd_kafka_mock_broker_set_down(self._cluster, broker))

    def broker_up(self, broker: int = 1) -> None:
        """Listen again, on the same port, with what it had."""
        self._demand(library().rd_kafka_mock_broker_set_up(self._cluster, broker))

    def push_request_errors(self, api_key: int, errors: Sequence[int]) -> None:
        """The next requests of this kind, to any broker, are answered with these error codes, one each."""
        array = (ctypes.c_int * len(errors))(*errors)
        library().rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(errors), array)

    def set_rtt(self, ms: int) -> None:
        """Every broker answers this much later."""
        for broker in range(1, self.n_brokers + 1):
            self._demand(library().rd_kafka_mock_broker_set_rtt(self._cluster, broker, ms))

    def _demand(self, code: int) -> None:
        assert code == 0, f"librdkafka answered with its error {code}"
