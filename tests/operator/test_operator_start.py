"""Where the operator cannot start, one line says why, with an exit code other than 0."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from namespace_view import Namespace
from object_store.server_process import free_port
from operator_process import Start, until
from repository import ROOT
from whisper_finetune_api.causes import EXIT_ACCESS, EXIT_CONFIG, EXIT_UNAVAILABLE

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("install_crd")]

DEFINITION = "whisperfinetunes.whisperfinetune.dev"
Changed = Callable[..., Path]


@pytest.fixture
def kubeconfig(control_plane: Path, tmp_path: Path) -> Changed:
    """Return what writes the admin's kubeconfig with another server or user."""

    def write(**changes: Any) -> Path:
        config = yaml.safe_load(control_plane.read_text(encoding="utf-8"))
        config["clusters"][0]["cluster"] |= changes.get("cluster", {})
        config["users"][0]["user"] = changes.get("user", config["users"][0]["user"])
        path = tmp_path / "changed.kubeconfig"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    return write


def says(start: Start, exit_code: int, **options: Any) -> str:
    """Return the one line that an operator leaves that cannot start."""
    replica = start(**options)
    assert replica.process.wait(60) == exit_code
    (line,) = replica.lines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("runtimes", "wanted"),
    [
        ("defaultRuntime: gpu\nruntimes: [{name: cpu, accelerator: cpu, image: x}]\n", "gpu"),
        ("runtimes: [{name: cpu, accelerator: abacus, image: x}]\n", "runtimes.0.accelerator"),
        ("runtimes: [\n", "is not YAML"),
    ],
    ids=["an unknown default", "an unknown accelerator", "no YAML"],
)
def test_wrong_runtimes_file(start: Start, tmp_path: Path, runtimes: str, wanted: str) -> None:
    (tmp_path / "runtimes.yaml").write_text(runtimes, encoding="utf-8")
    assert wanted in says(start, EXIT_CONFIG)


def test_setting_that_is_no_number(start: Start) -> None:
    line = says(start, EXIT_CONFIG, environment={"OPERATOR_WORKERS": "many"})
    assert line == "OPERATOR_WORKERS is 'many': it must be a whole number above zero"


def test_kubeconfig_that_is_not_there(start: Start, tmp_path: Path) -> None:
    assert "nowhere" in says(start, EXIT_ACCESS, kubeconfig=tmp_path / "nowhere")


def test_kubeconfig_that_is_none(start: Start, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("- a\n- list\n", encoding="utf-8")
    assert "none cannot be read as a kubeconfig: AttributeError" in says(
        start, EXIT_ACCESS, kubeconfig=tmp_path / "none"
    )


def test_kubeconfig_with_credentials_that_the_watches_cannot_use(start: Start, kubeconfig: Changed) -> None:
    program = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}
    line = says(start, EXIT_ACCESS, kubeconfig=kubeconfig(user={"exec": program}))
    assert "a token, a token file or a client certificate" in line


def test_wrong_token(start: Start, kubeconfig: Changed) -> None:
    line = says(start, EXIT_ACCESS, kubeconfig=kubeconfig(user={"token": "wrong"}))
    assert line.startswith("the API server refuses the credentials")


def test_nobody_answers_is_waited_for_and_told(start: Start, kubeconfig: Changed) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    replica = start(kubeconfig=kubeconfig(cluster={"server": server}))
    until(lambda: replica.health("/readyz")[0] == 503, what="that it is not ready")
    until(lambda: any(f"the API server does not answer: {server}" in each for each in replica.messages()), what="why")
    assert replica.health() == (200, "ok")
    assert replica.stop() == 0


def test_server_that_somebody_else_vouches_for(start: Start, kubeconfig: Changed) -> None:
    untrusted = {"certificate-authority-data": None, "insecure-skip-tls-verify": False}
    line = says(start, EXIT_UNAVAILABLE, kubeconfig=kubeconfig(cluster=untrusted))
    assert "CERTIFICATE_VERIFY_FAILED" in line


def test_port_that_somebody_else_has(start: Start) -> None:
    with socket.create_server(("", 0)) as other:
        port = str(other.getsockname()[1])
        line = says(start, EXIT_CONFIG, environment={"OPERATOR_HEALTH_PORT": port})
    assert line.startswith(f"cannot listen on port {port}")


def test_no_rights(place: Namespace, start: Start, kubeconfig: Changed) -> None:
    token = place.service_account_token("powerless")
    line = says(start, EXIT_ACCESS, kubeconfig=kubeconfig(user={"token": token}))
    assert line.startswith("no right to list whisperfinetunes in ")
    assert f"patch whisperfinetunes/status in {place.name}" in line
    assert f"update leases in {place.name}" in line


@pytest.fixture
def no_definition(api: client.ApiClient) -> Iterator[None]:
    """Take the CRD away, and bring it back for the tests that follow."""
    extensions = client.ApiextensionsV1Api(api)
    extensions.delete_custom_resource_definition(DEFINITION)
    until(lambda: not [each for each in definitions(extensions) if each == DEFINITION], what="that the CRD is gone")
    yield
    crd = yaml.safe_load((ROOT / "crds" / "whisperfinetunes.yaml").read_text(encoding="utf-8"))
    extensions.create_custom_resource_definition(crd)
    until(lambda: established(extensions), what="the CRD")


def definitions(extensions: client.ApiextensionsV1Api) -> list[str]:
    return [each.metadata.name for each in extensions.list_custom_resource_definition().items]


def established(extensions: client.ApiextensionsV1Api) -> bool:
    conditions = extensions.read_custom_resource_definition(DEFINITION).status.conditions or []
    return any(each.type == "Established" and each.status == "True" for each in conditions)


@pytest.mark.usefixtures("no_definition")
def test_no_definition(start: Start) -> None:
    line = says(start, EXIT_UNAVAILABLE)
    assert line == (
        "the API server does not know the kind WhisperFineTune of whisperfinetune.dev/v1alpha1: "
        "kubectl apply --server-side -f crds/whisperfinetunes.yaml"
    )
