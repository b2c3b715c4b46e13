"""The broker's settings: one node, open on this machine, or with TLS, users and rights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

HOST = "127.0.0.1"
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
ADMIN = "admin"  # may do everything; all others may do nothing until they are granted it
BROKER = "broker"  # the name in the broker's own certificate


def plain_properties(args: argparse.Namespace) -> dict[str, str]:
    """One listener, open to every user of this machine."""
    return {
        "listeners": f"PLAINTEXT://{HOST}:{args.port},CONTROLLER://{HOST}:{args.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{args.port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    }


def secure_properties(args: argparse.Namespace, *, users: dict[str, str], tls: Path) -> dict[str, str]:
    """A password listener and a certificate listener; nobody but `admin` may do anything that was not granted."""
    serving = f"SASL_SSL://{HOST}:{args.port},SSL://{HOST}:{args.tls_port}"
    jaas = "org.apache.kafka.common.security"
    passwords = "".join(f' user_{name}="{password}"' for name, password in users.items())
    scram = {
        f"{mechanism.lower()}.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;" for mechanism in MECHANISMS
    }
    logins = scram | {"plain.sasl.jaas.config": f"{jaas}.plain.PlainLoginModule required{passwords};"}
    return {
        "listeners": f"{serving},CONTROLLER://{HOST}:{args.controller_port}",
        "advertised.listeners": serving,
        "listener.security.protocol.map": "CONTROLLER:SSL,SSL:SSL,SASL_SSL:SASL_SSL",
        "inter.broker.listener.name": "SSL",
        "sasl.enabled.mechanisms": ",".join([*MECHANISMS, "PLAIN"]),
        **{f"listener.name.sasl_ssl.{name}": value for name, value in logins.items()},
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(tls / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(tls / "ca.pem"),
        "ssl.client.auth": "requested",
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{BROKER};User:{ADMIN}",
    }


def write_properties(path: Path, *, args: argparse.Namespace, listeners: dict[str, str], log: Path) -> None:
    """`server.properties` of a single node that is broker and controller."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": f"{HOST}:{args.controller_port}",
        "controller.listener.names": "CONTROLLER",
        **listeners,
        "log.dirs": str(log),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(args.message_max_bytes),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",  # lets a client ask for a dead consumer to be noticed sooner than in 6 s
        # with the defaults, a broker killed with -9 is let in again only after 9 s
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "200",
    }
    # JSON's escapes are also those of Java's property files, which know no UTF-8
    lines = [f"{name}={json.dumps(value)[1:-1]}\n" for name, value in properties.items()]
    path.write_text("".join(lines), encoding="ascii")
