"""An operator that cannot work ends its pod with one line that says why, and with an exit code other than 0."""

from collections.abc import Callable, Iterator

import pytest
from kubernetes import client

from e2e import operator_pod
from e2e.operator_pod import OperatorPod
from e2e.waiting import wait_until
from whisper_finetune_api.causes import EXIT_ACCESS, EXIT_CONFIG

pytestmark = pytest.mark.cluster
NAME = "cannot-start"
WRONG = "runtimes: [{name: cpu, accelerator: abacus, image: trainer}]"
GOOD = "runtimes: [{name: cpu, accelerator: cpu, image: trainer}]"
EndedPod = Callable[..., client.V1Pod]


@pytest.fixture
def ended_pod(operator: OperatorPod) -> Iterator[EndedPod]:
    """Run one more operator, with a runtimes file and an account of the test's own, to its end."""
    core, place = operator.core, operator_pod.NAMESPACE
    metadata = client.V1ObjectMeta(name=NAME)

    def run(runtimes: str, account: str) -> client.V1Pod:
        core.create_namespaced_config_map(
            place, client.V1ConfigMap(metadata=metadata, data={"runtimes.yaml": runtimes})
        )
        template = operator.pods()[0].spec
        spec = client.V1PodSpec(
            containers=[client.V1Container(
                name="operator", image=template.containers[0].image, args=["--runtimes=/etc/runtimes/runtimes.yaml"],
                volume_mounts=[client.V1VolumeMount(name="runtimes", mount_path="/etc/runtimes")],
            )],
            volumes=[client.V1Volume(name="runtimes", config_map=client.V1ConfigMapVolumeSource(name=NAME))],
            restart_policy="Never", service_account_name=account,
        )  # fmt: skip
        core.create_namespaced_pod(place, client.V1Pod(metadata=metadata, spec=spec))

        def look() -> client.V1Pod | None:
            pod = core.read_namespaced_pod(NAME, place)
            return pod if pod.status.phase in ("Succeeded", "Failed") else None

        return wait_until(look, 180, "the operator's end", lambda: core.read_namespaced_pod_log(NAME, place))

    yield run
    core.delete_namespaced_pod(NAME, place, grace_period_seconds=0)
    core.delete_namespaced_config_map(NAME, place)


@pytest.mark.parametrize(
    ("runtimes", "account", "exit_code", "says"),
    [
        (WRONG, operator_pod.DEPLOYMENT, EXIT_CONFIG, "runtimes.0.accelerator"),
        (GOOD, "default", EXIT_ACCESS, "no right to list whisperfinetunes"),
    ],
    ids=["wrong-runtimes", "no-rights"],
)
def test_operator_says_in_one_line_why_it_cannot_start(
    ended_pod: EndedPod, operator: OperatorPod, runtimes: str, account: str, exit_code: int, says: str
) -> None:
    pod = ended_pod(runtimes, account)
    (line,) = operator.log_of(pod, lines=100).splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert pod.status.container_statuses[0].state.terminated.exit_code == exit_code
