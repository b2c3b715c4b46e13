"""What the operating system gives: the time, a port, open files."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Callable, Sequence

from workers.doctor.finding import Finding, bad, ok, warn

TELL_S = 3.0  # a tool that asks a daemon may wait for it
FILES_AT_REST = 64  # libraries, database, log, threads' own
FILES_PER_CAMERA = 16  # decoder and its pipes, sockets with reconnects under way
ANY = ("0.0.0.0", "::", "")

Tell = Callable[[Sequence[str]], str | None]  # what a command prints; None where it cannot be asked


def clock(*, tell: Tell | None = None) -> Finding:
    """Whether the time is kept right by a time server, as timedatectl or chronyc says."""
    ask = tell or _printed
    synchronised = (ask(("timedatectl", "show", "--property=NTPSynchronized", "--value")) or "").strip()
    if synchronised == "yes":
        return ok("clock", "synchronised (timedatectl)")
    tracking = ask(("chronyc", "-n", "tracking"))
    if tracking is not None and "Leap status" in tracking:
        facts = dict(_pair(line) for line in tracking.splitlines() if ":" in line)
        if facts.get("Leap status") == "Normal":
            return ok("clock", f"synchronised (chrony): {facts.get('System time', 'offset unknown')}")
        synchronised = "no"
    if synchronised == "no":
        advice = "turn a time server on (`timedatectl set-ntp true`, or chrony): the times in results are wrong without"
        return warn("clock", "not synchronised", advice=advice)
    return warn(
        "clock",
        "cannot be told here: neither timedatectl nor chronyc answers",
        advice="make sure that the host's clock is kept by a time server; a container has its host's",
    )


def port(*, host: str, port: int) -> Finding:
    """Whether the status port can be had."""
    name = f"port {port}"
    if not port:
        return ok("port", "any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            advice = "a line that runs already, or another program, has it: stop that, or set server.port"
            return bad(name, f"{host}:{port} cannot be had: {error.strerror or error}", advice=advice)
    if host in ANY:
        return warn(
            name,
            f"free, on {host or 'every address'}",
            advice="every machine of the network may read it: use a firewall",
        )
    return ok(name, f"free on {host}")


def open_files(*, n_cameras: int, soft: int | None = None) -> Finding:
    """The limit of open files and sockets."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft is None else soft
    needed = FILES_AT_REST + FILES_PER_CAMERA * n_cameras
    if limit in (-1, resource.RLIM_INFINITY):
        return ok("open files", "no limit")
    if limit < needed:
        found = f"{limit} may be open, about {needed} are needed for {n_cameras} cameras"
        return bad(
            "open files", found, advice="raise it: `ulimit -n 4096`, LimitNOFILE= in systemd, or --ulimit nofile"
        )
    return ok("open files", f"{limit} may be open, about {needed} needed")


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _printed(command: Sequence[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TELL_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
