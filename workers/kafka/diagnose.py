"""Finds out why Kafka does not serve us: the client says only "unable to bootstrap"."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Sequence
from typing import Any

from workers.kafka.connection import KafkaConnection
from workers.kafka.told import told
from workers.kafka.wire import STEP_TIMEOUT_S, HungUp, SpeaksTls, Wire, split_address

_MAX_BROKERS = 3  # looked at; each costs a few steps of at most two seconds
_ILLEGAL_SASL_STATE, _UNSUPPORTED_MECHANISM = 34, 33  # error codes of the protocol
_EXPIRED, _NOT_YET_VALID, _WRONG_NAMES, _UNKNOWN_SIGNER = 10, 9, (62, 64), (18, 19, 20, 21)  # X509_V_ERR_*


class _Found(Exception):
    """The cause, as a sentence."""


def why(connection: KafkaConnection, error: BaseException, *, topics: Sequence[str] = ()) -> str:
    """One sentence for people: expected, got, what to do; never with a secret.

    Blocks: where the error itself does not say, each of the first three brokers is asked, two seconds a step at most.
    `topics` are looked for too: a client says only that it waited in vain for a topic that does not exist.
    """
    said = told(error, user=_user(connection), secrets=_secrets(connection))
    if said.certain:
        return said.text
    causes = []
    for address in connection.bootstrap[:_MAX_BROKERS]:
        cause = _cause_at(connection, address, topics=topics)
        if cause is None:
            return f"{address}: expected an answer, got {said.text}, and now it answers and lets us in; try again"
        causes.append(f"{address}: {cause}")
    return "; ".join(dict.fromkeys(causes))


def _cause_at(connection: KafkaConnection, address: str, *, topics: Sequence[str]) -> str | None:
    """None where the broker lets us in and all brokers it names are within reach."""
    from kafka.errors import KafkaError

    try:
        host = split_address(address)
        _knock(host)
        tls = connection.tls_context() if connection.uses_tls else None
        with _open(connection, host, tls=tls) as wire:
            _greet(connection, wire, host=host)
            if connection.uses_sasl:
                _log_in(connection, wire)
            answer = _metadata(connection, wire, host=host, topics=topics)
        _check_announced(answer, host=host)
        _check_topics(connection, answer)
    except _Found as found:
        return str(found)
    except TimeoutError:
        return "expected an answer within 2 s, got none; is it a Kafka broker, is it overloaded, is a firewall between?"
    except (ValueError, OSError, HungUp, KafkaError) as error:
        return told(error, user=_user(connection), secrets=_secrets(connection)).text
    return None


def _knock(host: tuple[str, int]) -> None:
    """Does the name resolve, does the port take connections?"""
    try:
        socket.create_connection(host, timeout=STEP_TIMEOUT_S).close()
    except OSError as error:
        raise _Found(_out_of_reach(host, error=error)) from error


def _out_of_reach(host: tuple[str, int], *, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"expected a host that can be found, got the unknown name {host[0]}; correct kafka.bootstrap or the DNS"
    if isinstance(error, ConnectionRefusedError):
        return f"expected a broker on port {host[1]}, got a refusal; start the broker, or correct host and port"
    if isinstance(error, TimeoutError):
        return (
            "expected the connection to be taken within 2 s, got no answer; is the machine on, in this network, and "
            f"port {host[1]} open in every firewall?"
        )
    name = errno.errorcode.get(error.errno or 0, "")
    return f"expected a broker, got {error.strerror or type(error).__name__} {name}; check address and network".strip()


def _open(connection: KafkaConnection, host: tuple[str, int], *, tls: ssl.SSLContext | None) -> Wire:
    try:
        return Wire(host, client_id=connection.client_id, tls=tls)
    except ssl.SSLCertVerificationError as error:
        raise _Found(_bad_certificate(connection, host, error=error)) from error
    except TimeoutError as error:
        raise _Found("expected TLS within 2 s, got silence; is this the TLS port of a Kafka broker?") from error
    except (ssl.SSLError, ConnectionError) as error:
        if "ALERT" in str(getattr(error, "reason", "")):
            raise _Found(_certificate_refused(connection, error=error)) from error
        if _speaks_plain(connection, host):
            raise _Found(
                "expected TLS, got a broker that speaks plain text on this port; set kafka.security.protocol to "
                f"{'sasl_plaintext' if connection.uses_sasl else 'plaintext'}, or name its TLS port"
            ) from error
        raise _Found("expected TLS, got something else; is this the TLS port of a Kafka broker?") from error


def _bad_certificate(connection: KafkaConnection, host: tuple[str, int], *, error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "expected a valid certificate, got one that has expired; renew it on the broker, check this clock"
    if code == _NOT_YET_VALID:
        return "expected a valid certificate, got one that is not valid yet; check the clocks here and at the broker"
    if code in _WRONG_NAMES:
        return (
            f"expected a certificate for {host[0]}, got one for {', '.join(_names(connection, host)) or 'others'}; use "
            "one of these names in kafka.bootstrap, or have the broker's certificate name this host"
        )
    if code in _UNKNOWN_SIGNER:
        trusted = connection.ca_file or "an authority that this machine trusts"
        return (
            f"expected a certificate signed by {trusted}, got one from a signer unknown here; set "
            "kafka.security.ca_file to the PEM of the authority that signed the broker's certificate"
        )
    return f"expected a certificate that can be trusted, got: {error.verify_message}; renew it on the broker"


def _names(connection: KafkaConnection, host: tuple[str, int]) -> list[str]:
    context = connection.tls_context()
    context.check_hostname = False  # the signer is checked still
    try:
        with Wire(host, client_id=connection.client_id, tls=context) as wire:
            return wire.certificate_names()
    except OSError:
        return []


def _certificate_refused(connection: KafkaConnection, *, error: OSError) -> str:
    ours = "none (certificate_file is not set)" if connection.certificate_file is None else "ours refused"
    reason = str(getattr(error, "reason", "")).lower().replace("_", " ")
    return (
        f"expected the broker to take our client certificate, got {ours} ({reason}); set "
        "kafka.security.certificate_file and key_file to a pair that an authority of the broker has signed"
    )


def _speaks_plain(connection: KafkaConnection, host: tuple[str, int]) -> bool:
    from kafka.errors import KafkaError

    try:
        with Wire(host, client_id=connection.client_id) as wire:
            wire.ask(_versions())
    except (OSError, HungUp, SpeaksTls, KafkaError):
        return False
    return True


def _greet(connection: KafkaConnection, wire: Wire, *, host: tuple[str, int]) -> None:
    """The first question, which every broker answers to everyone."""
    from kafka.errors import KafkaProtocolError

    try:
        wire.ask(_versions())
    except (SpeaksTls, HungUp, KafkaProtocolError) as error:
        if not connection.uses_tls and (isinstance(error, SpeaksTls) or _speaks_tls(host)):
            protocol = "sasl_tls" if connection.uses_sasl else "tls"
            raise _Found(
                f"expected plain text, got a broker that speaks TLS on this port; set kafka.security.protocol to "
                f"{protocol} and ca_file to the authority of its certificate"
            ) from error
        raise _Found("expected a Kafka broker, got something that does not speak its protocol; check port") from error
    except ssl.SSLError as error:  # TLS 1.3 may refuse a client certificate as late as now
        raise _Found(_certificate_refused(connection, error=error)) from error


def _speaks_tls(host: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent over it
    try:
        with Wire(host, client_id="", tls=context):
            return True
    except OSError:
        return False


def _log_in(connection: KafkaConnection, wire: Wire) -> None:
    """Ends with a session, or raises _Found."""
    from kafka.net.sasl import get_sasl_mechanism
    from kafka.protocol.sasl import SaslAuthenticateRequest

    _demand_mechanism(connection, offered=_offered(connection, wire))
    settings = connection.sasl_settings()
    mechanism = get_sasl_mechanism(connection.mechanism)(**settings)
    while not mechanism.is_done():
        try:
            answer = wire.ask(SaslAuthenticateRequest(version=0, auth_bytes=mechanism.auth_bytes()))
        except HungUp as error:
            raise _Found(_refused(connection, said="the connection closed")) from error
        if answer.error_code:
            raise _Found(_refused(connection, said=answer.error_message or f"error {answer.error_code}"))
        try:
            mechanism.receive(answer.auth_bytes)
        except (ValueError, KeyError) as error:
            raise _Found(
                "expected the broker to prove that it knows the password, got a wrong proof; is this your broker?"
            ) from error


def _offered(connection: KafkaConnection, wire: Wire) -> list[str]:
    """The mechanisms of this port; raises _Found where it asks for no password at all."""
    from kafka.protocol.sasl import SaslHandshakeRequest

    answer = wire.ask(SaslHandshakeRequest(version=1, mechanism=connection.mechanism))
    if answer.error_code == _ILLEGAL_SASL_STATE:
        protocol = "tls" if connection.uses_tls else "plaintext"
        raise _Found(
            "expected a port that asks for a password, got one that asks for none; set kafka.security.protocol to "
            f"{protocol}, or name the port for passwords"
        )
    return [str(each) for each in answer.mechanisms]


def _demand_mechanism(connection: KafkaConnection, *, offered: list[str]) -> None:
    if connection.mechanism not in offered:
        raise _Found(
            f"expected the mechanism {connection.mechanism}, got a broker that offers {', '.join(sorted(offered))}; "
            "set kafka.security.mechanism to one of these"
        )


def _refused(connection: KafkaConnection, *, said: str) -> str:
    secrets = _secrets(connection)
    shown = "" if any(secret in said for secret in secrets) else f" ({said.strip().rstrip('.')})"
    return (
        f"expected user {connection.username!r} to be let in with {connection.mechanism}, got a refusal{shown}; check "
        "kafka.security.username and the password, and that the broker knows this user for this mechanism"
    )


def _metadata(connection: KafkaConnection, wire: Wire, *, host: tuple[str, int], topics: Sequence[str]) -> Any:
    """Brokers and topics; raises _Found where this port wants a password first."""
    from kafka.protocol.metadata import MetadataRequest

    wanted = [MetadataRequest.MetadataRequestTopic(name=name) for name in topics]
    try:
        return wire.ask(MetadataRequest(version=4, topics=wanted, allow_auto_topic_creation=False))
    except HungUp as error:
        if not connection.uses_sasl and (offered := _mechanisms_without_login(connection, host)):
            protocol = "sasl_tls" if connection.uses_tls else "sasl_plaintext"
            raise _Found(
                f"expected a port that asks for no password, got one that does ({', '.join(offered)}); set "
                f"kafka.security.protocol to {protocol} with mechanism, username and password"
            ) from error
        raise


def _check_announced(answer: Any, *, host: tuple[str, int]) -> None:
    """Clients go on to the addresses that the brokers announce: those must be within reach too."""
    for broker in answer.brokers[:_MAX_BROKERS]:
        named = (str(broker.host), int(broker.port))
        if named == host:
            continue
        try:
            socket.create_connection(named, timeout=STEP_TIMEOUT_S).close()
        except OSError as error:
            raise _Found(
                f"it answers, but announces a broker at {named[0]}:{named[1]}, where: "
                f"{_out_of_reach(named, error=error)}; or have advertised.listeners of the broker name an address "
                "that this machine reaches"
            ) from error


def _check_topics(connection: KafkaConnection, answer: Any) -> None:
    from kafka.errors import for_code

    for topic in answer.topics:
        if topic.error_code:
            said = told(for_code(topic.error_code)(topic.name), user=_user(connection), secrets=())
            raise _Found(said.text)


def _mechanisms_without_login(connection: KafkaConnection, host: tuple[str, int]) -> list[str]:
    from kafka.errors import KafkaError

    try:
        with Wire(host, client_id="", tls=connection.tls_context() if connection.uses_tls else None) as wire:
            return sorted(_offered(connection, wire))
    except (OSError, HungUp, KafkaError, _Found):
        return []


def _versions() -> Any:
    from kafka.protocol.metadata import ApiVersionsRequest

    return ApiVersionsRequest(version=0)


def _user(connection: KafkaConnection) -> str:
    """As the broker's rights name us, as far as we know."""
    if connection.uses_sasl:
        return f"user {connection.username!r}"
    return "the user of our certificate" if connection.certificate_file is not None else "an anonymous user"


def _secrets(connection: KafkaConnection) -> tuple[str, ...]:
    """What no message may hold; empty where it cannot be read for now."""
    found = []
    for secret in (connection.password, connection.key_password):
        try:
            found.append(secret() if secret is not None else "")
        except (ValueError, OSError):
            continue
    return tuple(text for text in found if text)
