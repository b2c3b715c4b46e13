"""The section `kafka` of the configuration: what it takes, what it refuses, and that it keeps its secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from workers.config.kafka import KafkaConfig
from workers.config.line import ConfigFileError, load_config

SECRET = "hunter2-do-not-show"
LINE = """\
version: 1
cameras: [{id: cap-01, source: {type: simulate}}]
head: {texts: t.yaml}
decision: {good_classes: [ok]}
"""


def kafka(**security: Any) -> KafkaConfig:
    return KafkaConfig.model_validate({"bootstrap": "a:9092", "security": security})


def login(**security: Any) -> dict[str, Any]:
    return {"protocol": "sasl_plaintext", "username": "u", **security}


@pytest.mark.parametrize("given", ["a:9092, b:9093", ["a:9092", "b:9093"]])
def test_brokers_come_as_a_list_or_with_commas(given: object) -> None:
    config = KafkaConfig.model_validate({"bootstrap": given})
    assert config.connection().bootstrap == ("a:9092", "b:9093")


def test_a_short_section_is_enough() -> None:
    connection = KafkaConfig.model_validate({"bootstrap": "a"}).connection()
    assert (connection.protocol, connection.password, connection.client_id) == ("plaintext", None, "clearline")
    assert KafkaConfig.model_validate({"bootstrap": "a"}).message_max_bytes == 10_000_000


@pytest.mark.parametrize("bad", ["", [], "kafka://a:9092", "a:b", "u:p@a:9092"])
def test_what_is_no_broker_is_refused(bad: object) -> None:
    with pytest.raises(ValidationError):
        KafkaConfig.model_validate({"bootstrap": bad})


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ({"username": "u"}, "must have username only with a sasl protocol, got plaintext"),
        ({"protocol": "sasl_tls"}, "must have username with protocol: sasl_tls"),
        (login(), "needs exactly one of password and password_file, got none"),
        (login(password="x", password_file="f"), "got password and password_file"),
        (login(password_file="/nowhere"), "must name a readable file, got /nowhere"),
        (login(password="x", ca_file="f"), "must have ca_file only with a tls protocol"),
        ({"protocol": "tls", "key_file": "f"}, "must have certificate_file with key_file"),
        ({"protocol": "tls", "ca_file": "/nowhere"}, "must have in ca_file a file that exists, got /nowhere"),
    ],
)
def test_half_a_login_or_half_a_certificate_is_refused(security: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        kafka(**security)


def test_the_password_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    connection = kafka(**login(password_file=file)).connection()
    assert connection.kwargs()["sasl_plain_password"] == "first"
    file.write_text("second\n")
    assert connection.kwargs()["sasl_plain_password"] == "second"


def test_no_repr_and_no_dump_shows_the_password() -> None:
    config = kafka(**login(password=SECRET))
    connection = config.connection()
    assert connection.password is not None
    assert connection.password() == SECRET
    assert SECRET not in repr(config) + repr(connection) + str(config.model_dump()) + config.model_dump_json()


@pytest.mark.parametrize("broken", ["protocol: sasl", "username: []", "passwort: x", "mechanism: GSSAPI"])
def test_no_message_about_a_broken_file_shows_the_password(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "line.yaml"
    login = f"protocol: sasl_tls, username: u, password: '{SECRET}'".replace(
        f"{broken.split(':', maxsplit=1)[0]}:", "client_id:"
    )
    path.write_text(f"{LINE}kafka: {{bootstrap: a, security: {{{login}, {broken}}}}}\n")
    with pytest.raises(ConfigFileError) as caught:
        load_config(path, environ={})
    assert "kafka.security" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_password_comes_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    security = "{protocol: sasl_plaintext, username: u, password: '${KAFKA_PASSWORD}'}"
    path.write_text(f"{LINE}kafka: {{bootstrap: a, security: {security}}}\n")
    section = load_config(path, environ={"KAFKA_PASSWORD": SECRET}).kafka
    assert section is not None
    assert section.connection().kwargs()["sasl_plain_password"] == SECRET
