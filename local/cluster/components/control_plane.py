"""The command lines of the control plane."""

import json

from cluster.components.addresses import SERVICES
from cluster.components.cluster_plan import ClusterPlan
from cluster.components.component import Component

ETCD = "http://127.0.0.1:2379"


def control_plane(plan: ClusterPlan) -> list[Component]:
    return [etcd(plan), api_server(plan), controller_manager(plan), scheduler(plan)]


def etcd(plan: ClusterPlan) -> Component:
    return Component(
        "etcd",
        [
            f"{plan.programs}/etcd",
            f"--data-dir={plan.file('etcd')}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
        ],
    )


def api_server(plan: ClusterPlan) -> Component:
    keys = plan.file("keys")
    return Component(
        "kube-apiserver",
        [
            f"{plan.programs}/kube-apiserver",
            f"--etcd-servers={ETCD}",
            "--secure-port=6443",
            f"--advertise-address={plan.addresses.node}",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            f"--token-auth-file={keys}/tokens.csv",
            f"--client-ca-file={keys}/authority.crt",
            f"--kubelet-client-certificate={keys}/kubelet-client.crt",
            f"--kubelet-client-key={keys}/kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-account-key-file={keys}/service-account.key",
            f"--service-account-signing-key-file={keys}/service-account.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-cluster-ip-range={SERVICES}",
            *(audit(plan) if plan.disturbed else ()),
        ],
    )


def audit(plan: ClusterPlan) -> list[str]:
    """Return the arguments that write each change of what a run is made of to the audit log, with the whole object."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [
                    {"group": "", "resources": ["pods", "pods/status"]},
                    {"group": "batch", "resources": ["jobs"]},
                ],
            },
            {"level": "None"},
        ],
    }
    written = plan.file("audit-policy.json")
    written.write_text(json.dumps(policy), encoding="utf-8")
    return [
        f"--audit-policy-file={written}",
        f"--audit-log-path={plan.audit_log}",
        "--audit-log-maxsize=100000",
        "--audit-log-mode=blocking",
    ]


def controller_manager(plan: ClusterPlan) -> Component:
    return Component(
        "kube-controller-manager",
        [
            f"{plan.programs}/kube-controller-manager",
            f"--kubeconfig={plan.file('controller-manager.kubeconfig')}",
            f"--service-account-private-key-file={plan.file('keys')}/service-account.key",
            f"--root-ca-file={plan.file('keys')}/authority.crt",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # The default of 20 requests a second makes only 8 to 11 pods a second.
            "--kube-api-qps=300",
            "--kube-api-burst=500",
        ],
    )


def scheduler(plan: ClusterPlan) -> Component:
    return Component(
        "kube-scheduler",
        [
            f"{plan.programs}/kube-scheduler",
            f"--kubeconfig={plan.file('scheduler.kubeconfig')}",
            "--leader-elect=false",
            "--kube-api-qps=300",
            "--kube-api-burst=500",
        ],
    )
