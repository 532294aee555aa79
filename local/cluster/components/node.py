"""The one real node: containerd, the kubelet and kube-proxy, and the files that configure them."""

import json
import shutil
import subprocess
import time
from pathlib import Path

from cluster.components.addresses import ClusterAddresses
from cluster.components.cluster_plan import NODE_NAME, ClusterPlan
from cluster.components.component import Component
from cluster.faults import ClusterError

SOCKET = Path("/run/containerd/containerd.sock")
"""Each cluster has a /run of its own."""
IMAGE_NAMESPACE = "k8s.io"
PAUSE_IMAGE = "localhost/pause:1"
SECONDS_FOR_CONTAINERD = 30


def containerd(plan: ClusterPlan) -> Component:
    config = plan.file("containerd.toml")
    config.write_text(containerd_config(plan.folders.image_store, plan.file("cni")))
    return Component("containerd", ["containerd", "--config", str(config)])


def containerd_config(image_store: Path, cni: Path, disabled: str = "") -> str:
    # sandbox_image: there is no registry to pull it from, so go-pause is packed and imported.
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc ends with "can't get final child's PID from pipe".
    return f"""version = 2
root = "{image_store}"
state = "/run/containerd"
disabled_plugins = [{disabled}]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/run/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def wait_for_containerd() -> None:
    # The socket's file is no proof: it may be left from the containerd before.
    deadline = time.monotonic() + SECONDS_FOR_CONTAINERD
    while subprocess.run(["ctr", "-a", str(SOCKET), "version"], check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise ClusterError(f"containerd did not answer within {SECONDS_FOR_CONTAINERD} s")
        time.sleep(0.1)


def forget_containers(plan: ClusterPlan) -> None:
    """Remove the containers of the cluster before from the image store, which both share. The images stay.

    Otherwise the kubelet would try to stop pods whose processes and networks are long gone.
    """
    if not plan.folders.image_store.exists():
        return
    for leftover in ("io.containerd.runtime.v2.task", "io.containerd.grpc.v1.cri"):
        shutil.rmtree(plan.folders.image_store / leftover, ignore_errors=True)
    config = plan.file("containerd-cleaning.toml")
    config.write_text(containerd_config(plan.folders.image_store, plan.file("cni"), '"io.containerd.grpc.v1.cri"'))
    cleaning = Component("containerd-cleaning", ["containerd", "--config", str(config)]).start(plan.folders.logs)
    wait_for_containerd()
    containers = ctr("containers", "list", "--quiet").split()
    if containers:
        ctr("containers", "remove", *containers)
    cleaning.terminate()
    cleaning.wait()


def ctr(*arguments: str) -> str:
    ran = subprocess.run(
        ["ctr", "-a", str(SOCKET), "-n", IMAGE_NAMESPACE, *arguments], check=False, capture_output=True, text=True
    )
    if ran.returncode:
        raise ClusterError(f"`ctr {' '.join(arguments[:2])}` failed: {ran.stderr.strip()}")
    return ran.stdout


def write_pod_network(plan: ClusterPlan) -> None:
    plan.file("cni").mkdir(exist_ok=True)
    (plan.file("cni") / "10-pods.conflist").write_text(json.dumps(pod_network(plan.addresses), indent=1))


def pod_network(addresses: ClusterAddresses) -> dict[str, object]:
    ranges = [[{"subnet": str(addresses.pods)}]]
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def kubelet(plan: ClusterPlan) -> Component:
    config = plan.file("kubelet.json")
    config.write_text(json.dumps(kubelet_config(plan), indent=1))
    return Component(
        "kubelet",
        [
            f"{plan.programs}/kubelet",
            f"--config={config}",
            f"--kubeconfig={plan.file('kubelet.kubeconfig')}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={plan.addresses.node}",
            f"--root-dir={plan.file('kubelet')}",
            f"--cert-dir={plan.file('kubelet-keys')}",
        ],
    )


def kubelet_config(plan: ClusterPlan) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plan.file("keys") / "authority.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [
            "10.96.0.10"
        ],  # nothing answers there, but a pod with dnsPolicy ClusterFirst must have an address
        "resolvConf": "",
        "volumePluginDir": str(plan.file("kubelet") / "plugins"),
        # An image that no registry has must never be removed, however full the host's disk is.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
    }


def kube_proxy(plan: ClusterPlan) -> Component:
    return Component(
        "kube-proxy",
        [
            f"{plan.programs}/kube-proxy",
            f"--kubeconfig={plan.file('proxy.kubeconfig')}",
            "--proxy-mode=iptables",
            f"--cluster-cidr={plan.addresses.pods}",
            f"--hostname-override={NODE_NAME}",
            "--conntrack-max-per-core=0",
            "--conntrack-min=0",  # these sysctls are the host's
        ],
    )
