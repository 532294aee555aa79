"""Which kinds a double of the API server has, as a client looks them up before it watches."""

from typing import Any

_GROUPS = (("batch", "v1"), ("whisperfinetune.dev", "v1alpha1"), ("apiextensions.k8s.io", "v1"))
#: kopf waits for namespaces and definitions although it watches neither.
_KINDS = {
    "/api/v1": {"pods": "Pod", "namespaces": "Namespace"},
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/whisperfinetune.dev/v1alpha1": {"whisperfinetunes": "WhisperFineTune"},
    "/apis/apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
}
_VERBS = ["list", "watch", "get", "patch", "create", "delete"]


def describe_apis(path: str) -> dict[str, Any]:
    """Return the answer to a lookup at that path: versions, groups, or the kinds of a group."""
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        versions = [(name, {"groupVersion": f"{name}/{version}", "version": version}) for name, version in _GROUPS]
        return {"groups": [{"name": name, "versions": [each], "preferredVersion": each} for name, each in versions]}
    kinds = _KINDS.get(path, {}).items()
    of_all = {"namespaced": True, "verbs": _VERBS}
    return {"resources": [{"name": name, "kind": kind, "singularName": kind.lower(), **of_all} for name, kind in kinds]}
