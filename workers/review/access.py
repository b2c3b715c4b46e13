"""Who may see, label and approve: users, their secrets, sessions, and tokens against forged requests."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import ConfigError
from pipeline.interfaces import Clock

SESSION_S = 12 * 3600.0  # a long shift; then the tablet asks again
MAX_SESSIONS = 256
MAX_REMEMBERED = 256  # Basic credentials whose slow hash need not be made at every picture
MAX_NAME = 64
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and some 40 ms per guess
_SALT_BYTES = 16
_NOBODY = "scrypt$AAAAAAAAAAAAAAAAAAAAAA==$AAAA"  # hashed against for an unknown name, which then takes as long


class Role(enum.IntEnum):
    """Each may do what the ones below it may."""

    VIEWER = 1
    LABELLER = 2
    APPROVER = 3


@dataclass(frozen=True, slots=True)
class User:
    """One person or machine; hashes come from `password_hash` and `token_hash`."""

    name: str
    role: Role
    password_hash: str | None = field(default=None, repr=False)  # for the form and Basic
    token_hash: str | None = field(default=None, repr=False)  # for Bearer


@dataclass(frozen=True, slots=True)
class Visitor:
    """A user and how he showed who he is."""

    user: User
    key: str | None  # what his form token hangs on; None where no browser sends the proof by itself (Bearer)


_ANYBODY = User("", Role.VIEWER)


def password_hash(password: str) -> str:
    """Salted and slow, for what people type."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${_text(salt)}${_text(hashlib.scrypt(password.encode(), salt=salt, **_SCRYPT))}"


def token_hash(token: str) -> str:
    """Salted and fast, for random tokens of at least 128 bits."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"sha256${_text(salt)}${_text(hashlib.sha256(salt + token.encode()).digest())}"


def is_loopback(host: str) -> bool:
    """Does this name or address reach this machine only?"""
    bare = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost"


class Access:
    """Knows the users and who is logged in; any thread may call it. Without users everybody is a viewer."""

    def __init__(self, users: Sequence[User], *, clock: Clock) -> None:
        """Raises ConfigError for users that could never log in or be told apart."""
        _check(users)
        self._users = {user.name: user for user in users}
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._hashing = threading.Lock()  # one at a time: 16 MB each
        self._sessions: OrderedDict[str, tuple[User, float]] = OrderedDict()  # id -> user, monotonic end
        self._remembered: OrderedDict[bytes, User] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """No user is configured: read-only, for this machine only."""
        return not self._users

    def check_host(self, host: str) -> None:
        """Raises ConfigError where other machines could read without showing who they are."""
        if self.is_open and not is_loopback(host):
            raise ConfigError(
                f"server.host: expected 127.0.0.1 for a review page without users, got {host}; "
                "add review.users, or set review.enabled: false"
            )

    def anybody(self) -> Visitor | None:
        """Who comes without any proof: a viewer where there are no users, else nobody."""
        return Visitor(_ANYBODY, "anybody") if self.is_open else None

    def by_header(self, authorization: str) -> Visitor | None:
        """Of `Bearer token` or `Basic name:password`. May take 40 ms."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            found = self._by_token(value.strip())
            return Visitor(found, None) if found else None
        if scheme.lower() == "basic":
            found = self._by_basic(value.strip())
            return Visitor(found, f"basic:{found.name}") if found else None
        return None

    def by_session(self, session: str) -> Visitor | None:
        """Of the cookie."""
        with self._lock:
            user, ends_at = self._sessions.get(session, (_ANYBODY, 0.0))
        return Visitor(user, f"session:{session}") if self._clock.monotonic() < ends_at else None

    def log_in(self, name: str, *, password: str) -> str | None:
        """A new session, or None. Takes 40 ms whether the name is known or not."""
        user = self._by_password(name, password=password)
        if user is None:
            return None
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[session] = (user, self._clock.monotonic() + SESSION_S)
            if len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def log_out(self, session: str) -> None:
        """Forget it; the cookie is worth nothing from now on."""
        with self._lock:
            self._sessions.pop(session, None)

    def form_token(self, key: str) -> str:
        """What a form of this visitor carries, and no other site can know."""
        return hmac.new(self._key, key.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, token: str, *, key: str) -> bool:
        """Does it belong to this visitor?"""
        return hmac.compare_digest(token.encode(), self.form_token(key).encode())

    def _by_token(self, token: str) -> User | None:
        known = [user for user in self._users.values() if user.token_hash]
        matches = [user for user in known if _matches(token, known=user.token_hash or "")]  # all: constant time
        return matches[0] if matches else None

    def _by_basic(self, encoded: str) -> User | None:
        digest = hmac.new(self._key, encoded.encode(), hashlib.sha256).digest()
        with self._lock:
            if digest in self._remembered:
                return self._remembered[digest]
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return None
        user = self._by_password(name, password=password)
        if user is not None:
            with self._lock:
                self._remembered[digest] = user
                if len(self._remembered) > MAX_REMEMBERED:
                    self._remembered.popitem(last=False)
        return user

    def _by_password(self, name: str, *, password: str) -> User | None:
        user = self._users.get(name)
        known = user.password_hash if user else None
        with self._hashing:
            is_right = _matches(password, known=known or _NOBODY)
        return user if is_right and known else None


def _matches(secret: str, *, known: str) -> bool:
    scheme, salt, expected = known.split("$")
    raw = base64.b64decode(salt)
    if scheme == "scrypt":
        got = hashlib.scrypt(secret.encode(), salt=raw, **_SCRYPT)
    else:
        got = hashlib.sha256(raw + secret.encode()).digest()
    return hmac.compare_digest(got, base64.b64decode(expected))


def _check(users: Sequence[User]) -> None:
    names = [user.name for user in users]
    for user in users:
        where = f"review.users: {user.name[:MAX_NAME]!r}"
        if not user.name or len(user.name) > MAX_NAME or not user.name.isprintable() or ":" in user.name:
            raise ConfigError(f"{where}: expected 1 to {MAX_NAME} printable characters without a colon, got this name")
        if names.count(user.name) > 1:
            raise ConfigError(f"{where}: expected each name once, got it {names.count(user.name)} times")
        if not (user.password_hash or user.token_hash):
            raise ConfigError(f"{where}: expected a password or a token, got neither")
        for known, scheme in ((user.password_hash, "scrypt"), (user.token_hash, "sha256")):
            if known and not _well_formed(known, scheme=scheme):
                raise ConfigError(f"{where}: expected a hash {scheme}$salt$hash, got another form; make it anew")


def _well_formed(known: str, *, scheme: str) -> bool:
    parts = known.split("$")
    try:
        return len(parts) == 3 and parts[0] == scheme and all(base64.b64decode(one, validate=True) for one in parts[1:])
    except binascii.Error:
        return False


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
