"""The control of bench/reconcile.py: the same Job and the same status by kopf's own change handlers.

`kopf run` style on.create with a Job by POST and the status by kopf's patch: what a tutorial would write.
"""

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import yaml

GROUP, VERSION, PLURAL = "whisperfinetune.dev", "v1alpha1", "whisperfinetunes"
KUBECONFIG = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
CLUSTER, USER = KUBECONFIG["clusters"][0]["cluster"], KUBECONFIG["users"][0]["user"]
AUTHORITY = CLUSTER["certificate-authority-data"]
TEMPLATE = yaml.safe_load(Path(os.environ["JOB_TEMPLATE"]).read_text(encoding="utf-8"))


@kopf.on.login()
def login(**_: Any) -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server=CLUSTER["server"], ca_data=AUTHORITY, scheme="Bearer", token=USER["token"])


@kopf.on.startup()
async def connect(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    settings.posting.enabled = False
    context = ssl.create_default_context(cadata=base64.b64decode(AUTHORITY).decode())
    memo.session = aiohttp.ClientSession(
        CLUSTER["server"],
        connector=aiohttp.TCPConnector(limit=50, ssl=context),
        headers={"Authorization": f"Bearer {USER['token']}"},
    )


@kopf.on.create(GROUP, VERSION, PLURAL)
async def create_job(body: kopf.Body, name: str, namespace: str, memo: Any, patch: kopf.Patch, **_: Any) -> None:
    job = {
        **TEMPLATE,
        "metadata": {"name": name, "namespace": namespace, "ownerReferences": [dict(kopf.build_owner_reference(body))]},
    }
    async with memo.session.post(f"/apis/batch/v1/namespaces/{namespace}/jobs", json=job) as answer:
        answer.raise_for_status()
    patch.status["observedGeneration"] = body["metadata"]["generation"]
    patch.status["state"] = "Pending"
    patch.status["jobName"] = name
