"""A certificate authority of this folder's own, and what it signed: for trying TLS, not for a plant."""

from __future__ import annotations

import subprocess
from pathlib import Path

DAYS = "3650"


def make_certificates(folder: Path, *, broker: str, client: str, host: str) -> None:
    """PEM files by openssl, kept where they are there: ca.pem; broker.pem (key first); client.pem and client.key.

    `broker` and `client` are the common names, which the broker reads as user names. The broker's certificate is
    good for `host` (an IPv4 address) and for localhost.
    """
    if (folder / "client.pem").exists():  # the last to be made
        return
    folder.mkdir(parents=True, exist_ok=True)
    authority = ["-subj", "/CN=clearline-test-ca", "-days", DAYS, "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", *authority)
    key, certificate = sign(folder, name=broker, names=f"DNS:localhost,IP:{host}")
    (folder / "broker.pem").write_text(key + certificate, encoding="ascii")
    key, certificate = sign(folder, name=client, names="DNS:localhost")
    (folder / "client.key").write_text(key, encoding="ascii")
    (folder / "client.pem").write_text(certificate, encoding="ascii")


def sign(folder: Path, *, name: str, names: str) -> tuple[str, str]:
    """(key, certificate) in PEM, with the alternative names."""
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", "new.key", "-out", "new.csr")
    openssl(folder, "req", *new, "-subj", f"/CN={name}")
    (folder / "new.ext").write_text(f"subjectAltName={names}\nauthorityKeyIdentifier=keyid\n", encoding="ascii")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-extfile", "new.ext")
    openssl(folder, "x509", "-req", "-in", "new.csr", "-out", "new.pem", *signing)
    made = [(folder / f"new.{ending}").read_text(encoding="ascii") for ending in ("key", "pem")]
    for path in folder.glob("new.*"):
        path.unlink()
    return made[0], made[1]


def openssl(folder: Path, *words: str) -> None:
    """Runs it in the folder; ends the script with what it said where it fails."""
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"openssl {words[0]} failed in {folder}:\n{done.stderr.strip()}")
