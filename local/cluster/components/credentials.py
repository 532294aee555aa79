"""Keys, tokens and kubeconfigs of a compiled cluster."""

import base64
import json
import secrets
import subprocess
from pathlib import Path

from cluster.components.addresses import SERVICES, ClusterAddresses
from cluster.components.cluster_plan import NODE_NAME, ClusterPlan
from cluster.faults import ClusterError

USERS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}
"""The users whose rights Kubernetes itself brings: file name to user and group."""
ELLIPTIC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
DAYS = ["-days", "3650"]


def write_credentials(plan: ClusterPlan) -> None:
    """Make all keys and tokens anew. A cluster never trusts the keys of the cluster before."""
    keys = plan.file("keys")
    keys.mkdir(mode=0o700)
    openssl("genrsa", "-out", str(keys / "service-account.key"), "2048")
    make_authority(keys)
    make_certificate(keys, "apiserver", "/CN=kube-apiserver", api_server_names(plan.addresses))
    # The API server shows this certificate to the kubelet, for logs and exec.
    make_certificate(keys, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", "DNS:kube-apiserver")
    tokens = {name: secrets.token_hex(16) for name in USERS}
    lines = [f'{tokens[name]},{user},{user},"{group}"\n' for name, (user, group) in USERS.items()]
    (keys / "tokens.csv").write_text("".join(lines))
    for name, token in tokens.items():
        config = kubeconfig(plan.folders.name, plan.addresses.api_server, (keys / "authority.crt").read_text(), token)
        write_secret(plan.file(f"{name}.kubeconfig"), json.dumps(config, indent=1))


def api_server_names(addresses: ClusterAddresses) -> str:
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ]
    return ",".join([f"IP:{addresses.node}", f"IP:{SERVICES[1]}", "IP:127.0.0.1", *(f"DNS:{name}" for name in names)])


def make_authority(keys: Path) -> None:
    openssl(
        "req", "-x509", *ELLIPTIC, *DAYS, "-subj", "/CN=local-cluster", "-addext", "keyUsage=critical,keyCertSign",
        "-keyout", str(keys / "authority.key"), "-out", str(keys / "authority.crt"),
    )  # fmt: skip


def make_certificate(keys: Path, name: str, subject: str, alternative_names: str) -> None:
    request, extensions = keys / f"{name}.csr", keys / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName={alternative_names}\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    openssl("req", *ELLIPTIC, "-subj", subject, "-keyout", str(keys / f"{name}.key"), "-out", str(request))
    openssl(
        "x509", "-req", *DAYS, "-in", str(request), "-extfile", str(extensions), "-out", str(keys / f"{name}.crt"),
        "-CA", str(keys / "authority.crt"), "-CAkey", str(keys / "authority.key"), "-CAcreateserial",
    )  # fmt: skip


def openssl(*arguments: str) -> None:
    ran = subprocess.run(["openssl", *arguments], check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ClusterError(f"`openssl {arguments[0]}` failed: {ran.stderr.strip()}")


def kubeconfig(cluster: str, server: str, authority: str, token: str) -> dict[str, object]:
    """Return a kubeconfig that needs no other file. It is JSON, which every reader of YAML understands."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [
            {"name": cluster, "cluster": {"server": server, "certificate-authority-data": base64_of(authority)}}
        ],
        "users": [{"name": cluster, "user": {"token": token}}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": cluster}}],
    }


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
