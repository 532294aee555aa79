"""The few requests that the cluster's program itself sends to an API server."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SECONDS_TO_ANSWER = 5


def get(kubeconfig: Path, path: str) -> dict[str, Any]:
    """Return a JSON object of the API. Raises OSError where the server does not answer, or answers with an error."""
    answer: dict[str, Any] = json.loads(get_text(kubeconfig, path))
    return answer


def get_text(kubeconfig: Path, path: str) -> str:
    config = json.loads(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    request = urllib.request.Request(  # noqa: S310  # the address is our own API server's
        cluster["server"] + path, headers={"Authorization": f"Bearer {user['token']}"}
    )
    context = ssl.create_default_context(cadata=authority)
    # No proxy, because only this host knows the address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=SECONDS_TO_ANSWER) as response:
        text: str = response.read().decode()
    return text


def is_ready(kubeconfig: Path) -> bool:
    """Return whether the API server answers, and has the rights and service accounts that a pod needs."""
    try:
        return get_text(kubeconfig, "/readyz") == "ok" and bool(
            get(kubeconfig, "/api/v1/namespaces/default/serviceaccounts/default")
        )
    except OSError:
        return False


def is_node_ready(kubeconfig: Path, node: str) -> bool:
    try:
        conditions = get(kubeconfig, f"/api/v1/nodes/{node}")["status"].get("conditions", [])
    except OSError:
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
