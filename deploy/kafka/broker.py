"""Runs one real Apache Kafka broker on this machine, to try Clearline with and to test it; not for a plant.

python deploy/kafka/broker.py --port 9092 --data runs/kafka

Needs only Python, `java` and, the first time, `mvn` (and `openssl` for --secure). Everything it writes lies in the data
folder, save the jars, which are fetched once into their own. `ready.json` in the data folder says how to connect; it is
there exactly while the broker answers, and lasts only where this script is killed with -9.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from types import FrameType
from typing import IO

from certificates import make_certificates
from class_archive import ClassArchive
from properties import ADMIN, BROKER, HOST, MECHANISMS, plain_properties, secure_properties, write_properties

POM = Path(__file__).with_name("pom.xml")
PACKAGES = {"java": "default-jre-headless", "mvn": "maven", "openssl": "openssl"}  # Debian, Ubuntu
UNAVAILABLE = 69  # exit code: this machine lacks a tool or the way to the jars, see sysexits.h
JAVA = ("java", "-Xmx512m", "-XX:TieredStopAtLevel=1")  # starts in half the time that the full compiler takes
STARTED = "Kafka Server started"  # its last log line before it serves, after its registration is unfenced
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05
CLIENT = "clearline"  # the name in the client certificate, and the user that is made where none is named


class Stop:
    """Set by a signal; with `parent`, also asked for by the end of that process."""

    def __init__(self, *, parent: int | None) -> None:
        self._signalled = False
        self._parent = parent

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def asked(self) -> bool:
        return self._signalled or (self._parent is not None and os.getppid() != self._parent)


def say(line: str) -> None:
    """Standard output belongs to the user: one sentence a line."""
    print(line, flush=True)  # noqa: T201 - a script's output


def unavailable(line: str) -> SystemExit:
    """For `raise`: says what this machine lacks, and ends with UNAVAILABLE."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a script's output
    return SystemExit(UNAVAILABLE)


def demand_tools(*names: str) -> None:
    """Ends with the packages to install where one is absent."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        packages = " ".join(PACKAGES[name] for name in missing)
        raise unavailable(f"needs {' and '.join(missing)}, not found on the PATH: apt-get install {packages}")


def finished(command: list[str], *, stop: Stop) -> tuple[int, str]:
    """(exit code, all it said); ends this script where a stop is asked for meanwhile."""
    with tempfile.TemporaryFile() as output:
        child = started(command, output=output)
        while child.poll() is None:
            if stop.asked():
                end(child)
                raise SystemExit(0)
            time.sleep(POLL_S)
        output.seek(0)
        return child.returncode, output.read().decode(errors="replace")


def started(command: list[str], *, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """A child in a session of its own: Ctrl-C reaches this script only, which then stops the child in order."""
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, and make it where it does not."""
    child.terminate()
    try:
        child.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def kafka_version() -> str:
    """As the pom says."""
    found = re.search(r"<kafka\.version>(.+?)</kafka\.version>", POM.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(1)


def fetched(cache: Path, *, stop: Stop) -> Path:
    """The folder of the jars: fetched by Maven where it is absent, and then there as a whole or not at all."""
    version = kafka_version()
    jars = cache / f"kafka-{version}"
    if jars.is_dir():
        return jars
    demand_tools("mvn")
    say(f"fetching Apache Kafka {version} into {jars} (43 MB, once)")
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=cache))
    try:
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={partial.resolve()}"]
        code, output = finished(["mvn", "-q", "-B", "-f", str(POM), *copy], stop=stop)
        if code != 0:
            raise unavailable(f"Maven could not fetch Apache Kafka {version} (exit code {code}):\n{output.strip()}")
        try:
            partial.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another of these scripts was quicker
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return jars


def named_users(text: str) -> dict[str, str]:
    """{name: password} of `name:password,...`."""
    users: dict[str, str] = {}
    for item in filter(None, text.split(",")):
        found = re.fullmatch(r"([A-Za-z0-9._-]+):([A-Za-z0-9._~+/-]+)", item)
        if found is None or found.group(1) == BROKER:
            raise SystemExit(
                f"--users: expected name:password,... of letters, digits and ._- (in passwords also ~+/), and nobody "
                f"named {BROKER}; got the name {item.partition(':')[0]!r} and {len(item.partition(':')[2])} letters"
            )
        users[found.group(1)] = found.group(2)
    return users


def settled_users(known: Path, *, secure: bool, text: str) -> dict[str, str]:
    """The users that the broker's data was formatted with; without --secure none, and the file says so.

    `admin`, and `clearline` where nobody is named, get a password made up.
    """
    named = named_users(text)
    if not known.exists():
        names = [ADMIN] if named else [ADMIN, CLIENT]
        users = {name: secrets.token_hex(12) for name in names} | named if secure else {}
        replace(known, users)
        return users
    users = dict(json.loads(known.read_text(encoding="utf-8")))
    if bool(users) != secure:
        raise SystemExit(
            f"{known.parent} was made {'with' if users else 'without'} --secure: start it so, or name another --data"
        )
    if named.items() - users.items():
        raise SystemExit(f"{known} holds other users than --users: leave the option out, or name another --data")
    return users


def replace(path: Path, value: object) -> None:
    """Writes JSON so that a reader sees the old file or the whole new one."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def format_storage(log: Path, *, java: list[str], properties: Path, users: dict[str, str], stop: Stop) -> None:
    """Gives the cluster its id, and its users where it has any; leaves formatted data alone."""
    if (log / "meta.properties").exists():
        return
    shutil.rmtree(log, ignore_errors=True)  # a format that was cut short
    identity = "-"
    while identity.startswith("-"):  # would be read as an option
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = [*java, "kafka.tools.StorageTool", "format", "--standalone"]
    command += ["-t", identity, "-c", str(properties)]
    for name, password in users.items():
        for mechanism in MECHANISMS:
            command += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
    code, output = finished(command, stop=stop)
    if code != 0:
        raise SystemExit(f"Kafka could not format {log} (exit code {code}):\n{output.strip()}")


def wait_until_started(child: subprocess.Popen[bytes], *, log: Path, port: int, stop: Stop) -> bool:
    """True once it serves, False where a stop was asked for first; ends this script where the broker cannot."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not stop.asked():
        if child.poll() is not None:
            raise SystemExit(f"Kafka ended with code {child.returncode} instead of starting; {last_lines(log)}")
        if time.monotonic() > deadline:
            raise SystemExit(f"Kafka does not answer after {START_TIMEOUT_S:.0f} s; {last_lines(log)}")
        if STARTED in log.read_text(encoding="utf-8", errors="replace"):
            socket.create_connection((HOST, port), timeout=5.0).close()
            return True
        time.sleep(POLL_S)
    return False


def last_lines(log: Path) -> str:
    """Where its log is, and how that ends."""
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
    return "\n".join([f"the end of {log}:", *tail])


def demand_free(ports: list[int]) -> None:
    """Ends this script where somebody listens already."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka does
            try:
                probe.bind((HOST, port))
            except OSError as error:
                raise SystemExit(f"cannot listen on {HOST}:{port}: {error.strerror}; choose another port") from error


def ready_facts(args: argparse.Namespace, *, pid: int, users: dict[str, str], tls: Path) -> dict[str, object]:
    """What a client needs to connect, and a test to kill it."""
    facts: dict[str, object] = {"pid": pid, "kafka_version": kafka_version(), "bootstrap": None}
    if not args.secure:
        return facts | {"bootstrap": f"{HOST}:{args.port}"}
    return facts | {
        "secure_bootstrap": f"{HOST}:{args.port}",
        "tls_bootstrap": f"{HOST}:{args.tls_port}",
        "ca": str(tls / "ca.pem"),
        "client_certificate": str(tls / "client.pem"),
        "client_key": str(tls / "client.key"),
        "users": users,
    }


def welcome(args: argparse.Namespace) -> None:
    """What runs, and what to type next."""
    say(f"Apache Kafka {kafka_version()} answers on {HOST}:{args.port}, its data is in {args.data}; Ctrl-C stops it")
    admin = f".venv/bin/python -m kafka.admin -b {HOST}:{args.port}"
    if args.secure:
        ca, ready = shlex.quote(str(args.data / "tls" / "ca.pem")), args.data / "ready.json"
        say(f"passwords of {ADMIN} (may do everything) and the others (nothing until granted), and the CA: {ready}")
        admin += f" -S SASL_SSL -M SCRAM-SHA-512 -U {ADMIN} -P PASSWORD -C ssl_cafile={ca}"
    say(f"next, in another terminal: {admin} topics list")


def serve(args: argparse.Namespace, *, stop: Stop) -> int:
    """From nothing to a broker in the foreground; 0 after a stop that was asked for."""
    demand_tools("java", *(["openssl"] if args.secure else []))
    demand_free([args.port, args.controller_port, *([args.tls_port] if args.secure else [])])
    jars = fetched(args.jars.resolve(), stop=stop)
    data: Path = args.data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    users = settled_users(data / "users.json", secure=args.secure, text=args.users)
    tls = data / "tls"
    if args.secure:
        make_certificates(tls, broker=BROKER, client=CLIENT, host=HOST)
    listeners = secure_properties(args, users=users, tls=tls) if args.secure else plain_properties(args)
    properties, classpath, archive = data / "server.properties", ["-cp", str(jars / "*")], ClassArchive(jars)
    write_properties(properties, args=args, listeners=listeners, log=data / "log")
    java = [*JAVA, *archive.options(), *classpath]
    format_storage(data / "log", java=java, properties=properties, users=users, stop=stop)
    log, ready = data / "kafka.log", data / "ready.json"
    options = ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
    command = [*JAVA, *archive.options(writes=True), *options, *classpath, "kafka.Kafka", str(properties)]
    with log.open("wb") as output:
        child = started(command, output=output)
    try:
        if wait_until_started(child, log=log, port=args.port, stop=stop):
            replace(ready, ready_facts(args, pid=child.pid, users=users, tls=tls))
            welcome(args)
        while not stop.asked():
            if child.poll() is not None:
                raise SystemExit(f"Kafka ended with code {child.returncode}; {last_lines(log)}")
            time.sleep(POLL_S)
    finally:
        end(child)
        archive.keep(code=child.returncode)
        ready.unlink(missing_ok=True)
    return 0


def parsed() -> argparse.Namespace:
    """The command line, with the ports that follow from `--port`."""
    parser = argparse.ArgumentParser(description="One real Apache Kafka broker on this machine, to try things with.")
    parser.add_argument("--port", type=int, default=9092, help="where clients connect")
    parser.add_argument("--controller-port", type=int, help="Kafka's own traffic (default: port + 1)")
    parser.add_argument(
        "--tls-port", type=int, help="with --secure: where client certificates log in (default: port + 2)"
    )
    parser.add_argument("--data", type=Path, default=Path("runs/kafka"), help="all it writes; kept between runs")
    parser.add_argument("--jars", type=Path, default=Path("runs/kafka-jars"), help="where Kafka itself is fetched to")
    parser.add_argument(
        "--secure", action="store_true", help="TLS, passwords (SCRAM-SHA-512, SCRAM-SHA-256, PLAIN), ACLs"
    )
    parser.add_argument("--users", default="", help="with --secure: name:password,... (default: made up)")
    parser.add_argument("--message-max-bytes", type=int, default=1_048_588, help="the largest record batch it takes")
    parser.add_argument("--end-with-parent", action="store_true", help="stop where the process that started it is gone")
    args = parser.parse_args()
    if args.users and not args.secure:
        parser.error("--users needs --secure")
    args.controller_port = args.controller_port or args.port + 1
    args.tls_port = args.tls_port or args.port + 2
    return args


def main() -> int:
    """Runs until SIGINT or SIGTERM."""
    args = parsed()
    os.umask(0o077)  # passwords and keys are written
    stop = Stop(parent=os.getppid() if args.end_with_parent else None)
    signal.signal(signal.SIGINT, stop.on_signal)
    signal.signal(signal.SIGTERM, stop.on_signal)
    return serve(args, stop=stop)


if __name__ == "__main__":
    raise SystemExit(main())
