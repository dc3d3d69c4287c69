"""Who may speak to whom? One certificate authority for each cluster and a certificate for each component.

Made anew at every start (about 15 ms a certificate), so nothing expires and nothing is shared between clusters.
"""

import base64
import json
import subprocess
from pathlib import Path

_EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650")


def make_authority(pki: Path) -> None:
    """Write ca.crt, ca.key and the key pair that signs service account tokens."""
    pki.mkdir(parents=True, mode=0o700)
    _openssl("req", "-x509", *_EC_KEY, "-subj", "/CN=agentpool-cluster", *_files(pki, "ca"))
    _openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", pki / "service-accounts.key")
    _openssl("ec", "-in", pki / "service-accounts.key", "-pubout", "-out", pki / "service-accounts.pub")


def issue(pki: Path, name: str, subject: str, names: tuple[str, ...] = ()) -> None:
    """Write name.crt and name.key for `subject` (in OpenSSL form); `names` as in `IP:10.0.0.1`, `DNS:localhost`."""
    extensions = ["-addext", "extendedKeyUsage=clientAuth,serverAuth", "-addext", "basicConstraints=CA:FALSE"]
    if names:
        extensions += ["-addext", "subjectAltName=" + ",".join(names)]
    authority = ("-CA", pki / "ca.crt", "-CAkey", pki / "ca.key")
    _openssl("req", "-x509", *_EC_KEY, *authority, "-subj", subject, *extensions, *_files(pki, name))


def write_kubeconfig(target: Path, pki: Path, user: str, server: str) -> None:
    """One self-contained file (JSON is YAML), readable by its owner only."""
    cluster = {"server": server, "certificate-authority-data": _data(pki / "ca.crt")}
    credentials = {
        "client-certificate-data": _data(pki / f"{user}.crt"),
        "client-key-data": _data(pki / f"{user}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "agentpool", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "agentpool", "context": {"cluster": "agentpool", "user": user}}],
        "current-context": "agentpool",
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(config, indent=1))


def _files(pki: Path, name: str) -> tuple[str | Path, ...]:
    return ("-keyout", pki / f"{name}.key", "-out", pki / f"{name}.crt")


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(*argv: str | Path) -> None:
    subprocess.run(["openssl", *argv], check=True, capture_output=True)
