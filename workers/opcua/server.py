"""An OPC UA server in this process: a thread of its own with an event loop, which a slow client cannot hold up."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from asyncua import ua
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from cryptography import x509

from pipeline.errors import SinkError
from pipeline.interfaces import Clock
from workers.opcua.nodes import NAMESPACE, Nodes, Verdict
from workers.triggers.queue import Fire, TriggerRefused

log = structlog.get_logger()

TICK_S = 0.1  # how soon after its time a value is marked as stale
BEAT_TICKS = 5  # the heartbeat counts twice a second
LINE_ALIVE_S = 3.0  # the line's thread comes by twice a second; silent for longer, it hangs
START_S = 60.0  # the standard address space of OPC UA is read from a file
STOP_S = 3.0
WRITE_S = 5.0  # longest wait for the event loop to take results
SERVER_NAME, APPLICATION_URI = "Clearline", "urn:clearline:server"


@dataclass(frozen=True, slots=True)
class Security:
    """Encrypted and signed (Basic256Sha256), with a user name and a password that is asked for at each login."""

    certificate_file: Path  # PEM
    key_file: Path  # PEM
    users: Mapping[str, Callable[[], str]] = field(repr=False)


class OpcUaServer:
    """Serves from the moment it is made until `close`. One thread calls `show`, `seen` and `close`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        regions: Sequence[tuple[str, str]],
        stale_s: float,
        clock: Clock,
        security: Security | None = None,
        triggers: Mapping[str, Fire] | None = None,
        write_s: float = WRITE_S,
    ) -> None:
        """Without `security` anybody who reaches the port may read, and announce parts to the cameras in `triggers`.

        Raises SinkError where it cannot serve.
        """
        self._host, self._port = host, port
        self._regions, self._stale_s, self._security = regions, stale_s, security
        self._clock, self._write_s = clock, write_s
        self._triggers = triggers or {}
        self._seen_at = clock.monotonic()  # written by the line's thread, read by ours
        self._nodes: Nodes | None = None
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._started: Future[int] = Future()
        _quiet_library_logs()
        self._thread = threading.Thread(target=self._run, name="opcua", daemon=True)
        self._thread.start()
        try:
            self._port = self._started.result(START_S)
        except (OSError, ValueError, TimeoutError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no answer in time"
            advice = "stop the other program, or choose another port; see to the certificate files"
            raise SinkError(f"opcua {host}:{port}: expected to serve there, got: {reason}; {advice}") from error

    @property
    def url(self) -> str:
        """What a client is given."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"opc.tcp://{host}:{self._port}/clearline"

    def show(self, verdicts: Sequence[Verdict]) -> None:
        """Returns when they are written, in order. Raises SinkError where the server does not take them in time."""
        given_up = threading.Event()
        work = self._show(verdicts, given_up=given_up)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise SinkError(f"{self.url}: expected a running server, got one that has ended") from error
        try:
            future.result(self._write_s)
        except TimeoutError as error:
            given_up.set()
            said = f"expected results to be taken within {self._write_s:g} s, they were not"
            raise SinkError(f"{self.url}: {said}; is this machine overloaded?") from error
        self.seen()

    def seen(self) -> None:
        """The line's thread lives: the heartbeat goes on."""
        self._seen_at = self._clock.monotonic()

    def close(self) -> None:
        """Mark everything as not to be trusted, then end; may be called twice. Waits at most STOP_S."""
        if self._loop.is_closed():
            return
        with contextlib.suppress(RuntimeError):  # it has ended in between
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(STOP_S)

    async def _show(self, verdicts: Sequence[Verdict], *, given_up: threading.Event) -> None:
        """On the loop; what was given up before its turn comes again, and is not to be shown twice."""
        assert self._nodes is not None  # made before the constructor returned
        if not given_up.is_set():
            await self._nodes.show(verdicts, now=self._clock.monotonic())

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            try:
                self._loop.run_until_complete(self._serve())
            except BaseException as error:
                if self._started.done():
                    raise
                self._started.set_exception(error)

    async def _serve(self) -> None:
        server = await self._made()
        try:
            await server.start()
        except BaseException:
            with contextlib.suppress(Exception):
                await server.stop()
            raise
        assert server.bserver is not None
        nodes = self._nodes
        assert nodes is not None
        self._started.set_result(server.bserver.port)
        try:
            await self._watch(nodes)
        finally:
            await nodes.spoil()
            await asyncio.sleep(TICK_S)  # so that who has subscribed is told
            await server.stop()

    def _announce(self, camera: str, part: str) -> None:
        """On the loop: never waits."""
        try:
            self._triggers[camera](camera, part or None)
        except TriggerRefused as error:
            log.warning("trigger refused", camera=camera, cause=str(error))

    async def _watch(self, nodes: Nodes) -> None:
        n_ticks = 0
        while not self._ending.is_set():
            now = self._clock.monotonic()
            line_lives = now - self._seen_at < LINE_ALIVE_S
            await nodes.watch(now=now, stale_s=self._stale_s, line_lives=line_lives, beats=n_ticks % BEAT_TICKS == 0)
            n_ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK_S)

    async def _made(self) -> Server:
        server = Server(user_manager=_Users(self._security))
        await server.init()
        server.set_endpoint(self.url)
        server.set_server_name(SERVER_NAME)
        server.socket_address = (self._host, self._port)
        if self._security is None:
            await server.set_application_uri(APPLICATION_URI)
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity], SimpleRoleRuleset())
            server.set_identity_tokens([ua.AnonymousIdentityToken])
        else:
            certificate = self._security.certificate_file.read_bytes()
            await server.set_application_uri(_application_uri(certificate))
            server.set_security_policy([ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt], SimpleRoleRuleset())
            server.set_identity_tokens([ua.UserNameIdentityToken])
            await server.load_certificate(certificate, "pem")
            await server.load_private_key(self._security.key_file.read_bytes(), format="pem")
        index = await server.register_namespace(NAMESPACE)
        self._nodes = Nodes(server, index=index)
        await self._nodes.make(self._regions)
        await self._nodes.make_triggers(list(self._triggers), announce=self._announce)
        return server


class _Users(UserManager):
    """Everybody who may come in may read, and write triggers; nothing else is writable."""

    def __init__(self, security: Security | None) -> None:
        self._security = security

    def get_user(
        self,
        iserver: Any,  # noqa: ARG002 - the library hands it over
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,  # noqa: ARG002 - so with this
    ) -> User | None:
        """As the library asks; None refuses."""
        if self._security is None:
            return User(role=UserRole.User)
        wanted = self._security.users.get(username or "")
        try:
            given, right = (password or "").encode(), wanted().encode() if wanted is not None else b""
        except ValueError:  # its file is gone for now
            return None
        if right and hmac.compare_digest(given, right):
            return User(role=UserRole.User, name=username)
        return None


def _application_uri(pem: bytes) -> str:
    """What the certificate is good for: clients compare it with what the server calls itself."""
    try:
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return APPLICATION_URI
    return next(iter(names.value.get_values_for_type(x509.UniformResourceIdentifier)), APPLICATION_URI)


def _quiet_library_logs() -> None:
    """Every client that goes would be several lines; a level that somebody has set stays."""
    logger = logging.getLogger("asyncua")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
