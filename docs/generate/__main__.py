"""Write everything that is generated from the types: the CRD, the chart's copy of it, and the tables of the docs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import dataset_specs
import ipu_sizes
import notebook_settings
from markdown import table
from whisper_finetune_api import crd
from whisper_finetune_api.causes import CAUSES
from whisper_finetune_api.planning import run_plan
from whisper_finetune_api.planning.model_dimensions import DIMENSIONS
from whisper_finetune_api.v1alpha1 import Training
from whisper_finetune_api.v1alpha1.rules import MUTABLE_FIELDS, RULES
from whisper_finetune_operator.observability.metric_table import LABELS, METRICS
from whisper_finetune_operator.planning.runtimes import Runtimes

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CRD = ROOT / "crds" / "whisperfinetunes.yaml"
CHART_CRD = ROOT / "charts" / "whisper-finetune-operator" / "files" / "whisperfinetunes.yaml"
API = ROOT / "docs" / "api.md"
RUNTIMES = ROOT / "docs" / "runtimes.md"
METRICS_PAGE = ROOT / "docs" / "metrics.md"
IPUS = ROOT / "docs" / "ipus.md"
DATA = ROOT / "docs" / "data.md"
DATA_TEMPLATE = HERE / "data.template.md"
IPUS_TEMPLATE = HERE / "ipus.template.md"
OPERATIONS = ROOT / "docs" / "operations.md"
OPERATIONS_TEMPLATE = HERE / "operations.template.md"
ALERTS = ROOT / "charts" / "whisper-finetune-operator" / "files" / "alerts.yaml"
EXAMPLE = ROOT / "docs" / "examples" / "runtimes.yaml"

_LONGEST_LIST = 12
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "maxLength": "at most {} characters",
    "maxItems": "at most {} items",
}
_API_TEXT = """# The WhisperFineTune object

Generated from `crds/whisper_finetune_api` by `make generate`. The same types make the CRD, so
`kubectl explain wft.spec` says the same.

## Spec

Only {mutable} may change after creation.
Everything else defines the run: for another run, make another object.

{spec}

Rules over several fields:

{rules}

## Status

{status}

## Causes

A *final* cause ends the run (`Succeeded=False`, `Stalled=True`). What *waits* goes on by itself when it is mended.
What is *retried* costs one of `spec.retries`. The reason and a message that says what to do stand in the condition
`Succeeded`.

{causes}
"""

_RUNTIMES_TEXT = """# Runtimes: what a trainer pod may be

Generated from `operator/whisper_finetune_operator/planning/runtimes.py` by `make generate`.

Users name a model, a language and a data set. Image, accelerator, resources and rights of the pod are the cluster
admin's to say, in a file that the chart writes from its value `runtimes`. A run takes the runtime that its spec names,
else `defaultRuntime`, and keeps it.

The operator refuses a wrong file at its start with one line. While it works it reads the file again every 10 s, and a
changed one counts without a restart. A wrong one changes nothing: `wft_runtimes_file_valid` is 0 then, and the log and
an Event `RuntimesRefused` on the election's Lease say what is wrong. The first runtime that makes IPUJobs needs a
restart, which the chart sees to.

Jobs at work stay as they are, since a changed runtime is for the next Job. A run whose runtime is renamed or gone goes
on, and waits with `RuntimeNotFound` where it needs another Job. A partition that leaves its pool stays with the run
that has it.

`accelerator: ipu` runs Graphcore's recipe, see [ipus.md](ipus.md): no IPU has run it yet, an emulation has. `cuda` runs
the code of `cpu`, which no GPU has run yet.

{table}

## What else the pod may have

`podTemplate` adds to the trainer's pod what Kubernetes knows and the operator has no opinion of: a RuntimeClass, a
PriorityClass, a ServiceAccount for a cloud's identity, labels, annotations, affinity, spread, volumes and their mounts.

```yaml
podTemplate:
  metadata:
    labels: {{sidecar.istio.io/inject: "false"}}
    annotations: {{karpenter.sh/do-not-disrupt: "true"}}
  spec:
    runtimeClassName: nvidia
    priorityClassName: training
    serviceAccountName: speech-store
    volumes:
    - {{name: recordings, persistentVolumeClaim: {{claimName: recordings}}}}
    containers:
    - name: trainer
      volumeMounts: [{{name: recordings, mountPath: /recordings, readOnly: true}}]
```

It lies under what the operator says. The operator's labels, variables, volumes and folders stay, and yours come after
them. What is the operator's own (`restartPolicy`, the command), what has a field of its own above (`nodeSelector`,
`resources`, `securityContext` as `security`) and further containers are refused with the reason, an unknown field with
the one that may be meant. ServiceAccount, claims and ConfigMaps are those of the run's namespace. A path of the host is
a right on the node, so the runtime must name its `namespaces`.

What a cluster's own policies change on Jobs and pods stays: the operator compares none of it with its own. What they
are to set can be left to them: `security: {{runAsUser: null, fsGroup: null}}` leaves users and groups to the cluster,
as OpenShift gives each namespace its own. `runAsNonRoot` stays, so the image's user must be a number above 0.

## Kueue

A run's labels `kueue.x-k8s.io/queue-name`, `priority-class` and `max-exec-time-seconds` go to its Job. While Kueue
keeps the Job suspended the run is `Queued`, and a changed `queue-name` moves the Job. What Kueue takes back saves a
checkpoint, costs no retry, and goes on when it is admitted again. The condition `Admitted` says whether it is.
[One file](examples/kueue/queues-and-run.yaml) has queues with quotas of GPUs and IPUs, two priorities, and a run.

The message has Kueue's own words, from the Workload that Kueue makes of the Job: which quota is missing, which queue
does not exist or is stopped, which admission check has not passed, and what to do about a Workload that was
deactivated. The position in a queue is not in the status: Kueue's visibility API has it.

The chart's role may `list` these Workloads. They are listed once for all runs of a namespace, and each run asks again
after a third of the time that it has waited, up to ten minutes. So the words may be as old as that. Admission itself is
seen at once. Without that right the run names its queue alone.

What Kueue owns of a Job the operator does not write: whether a Job in a queue is suspended, and what is put into its
pods at admission. `spec.suspend` of the run ends its Job, which gives the quota back. When the run is resumed, its next
Job queues anew.

Queues that send Jobs to other clusters (MultiKueue) are not supported: progress and result are read from the pod, so
such a run says `QueueNotSupported`. Pools of partitions and IPUJobs have queues of their own and take none of Kueue's.

Each pod asks for `ephemeral-storage`: a ClusterQueue must cover it (`coveredResources`), or Kueue's configuration
leave it out (`resources.excludeResourcePrefixes`).

## Stores behind an authority of your own

A store, tracker or mirror of the Hub whose certificate is signed by an authority that the image does not know ends a
run with `ConfigInvalid`. `caBundle` names a ConfigMap of the run's namespace, with the certificates in PEM:
`caBundle: {{configMap: company-ca, key: ca.crt}}`. A run whose namespace lacks the ConfigMap waits.

The trainer gets it as `AWS_CA_BUNDLE` (S3), `REQUESTS_CA_BUNDLE` (MLflow, Weights & Biases, the Hub on IPUs) and
`SSL_CERT_FILE` (the Hub, GCS, Azure). It takes the place of the image's own authorities, so it must hold the public
ones too where public hosts are asked, as trust-manager's bundles do with `useDefaultCAs: true`.

## NVIDIA cards

- A run uses one card: let `resource: nvidia.com/gpu` stand alone, which asks for one. Where a pod has more (by
  `extraResources`, or a device plugin that gives all of a node), the others stay idle. The log warns, and `ranOn` says
  `1 of 8`.
- The image's PyTorch is built for CUDA 13: it needs compute capability 7.5 (Turing: T4) or more, and driver 580
  or newer on the node. Volta (V100) and older cannot run it. Their runs fail with `AcceleratorUnavailable`.
- `training.precision` is by itself what the card does well: `Half` (bfloat16) from compute capability 8.0 (Ampere) on,
  else `Float`. `Half` on an older card, or on a CPU without bfloat16, is refused: it would be emulated, and slow.
  `Float` multiplies in TF32 from 8.0 on, with 10 bits of mantissa, and in float32 on older cards and on CPUs.
- As many clips go through the network at once as fit: before the first step one is tried with `batchSize` clips of the
  longest window, then with half of them, until it fits. Where memory runs out later, the step is taken again with half.
  `ranOn.microBatchSize` says what was found, and a resumed run goes on with it. `training.microBatchSize` sets it.
- Where not even one clip fits, layers are computed again for their gradients (`training.gradientCheckpointing: Auto`),
  and as many clips as then fit go through at once. None of this has been measured on a card yet.
- `acceleratorMemory: 24Gi` says what one card has. A new run that cannot fit, even with one clip of 5 s at a time,
  then fails with `InvalidSpec` before it has a pod, and with what would fit. On a CPU the estimate is exact to a tenth.
  It was not compared with a card, so a run that is a tenth too large is still tried. It knows OpenAI's models alone:

{memory}

- A card that is too small for one clip ends the run at once with `OutOfMemory`, the numbers, and what to change.
  Where other processes hold a part of the card, the run is tried again instead (`AcceleratorUnavailable`).

## An example

```yaml
{example}```
"""


_METRICS_TEXT = """# Metrics

Generated from `operator/whisper_finetune_operator/observability/metric_table.py` by `make generate`.

Each replica serves them on port 8080 under `/metrics`, with Prometheus' own `process_*`. Only the replica that leads
has runs in sight, so sums over replicas are right. Alerts and a dashboard of them: [operations.md](operations.md).

{metrics}

## Labels

{labels}

## How they count

- Gauges of runs are counted at each scrape, in one pass over what the operator has in memory. They count every run in
  sight, those of other installations too.
- Counters begin anew with each process. An end is counted by the replica whose write of the status the API server has
  taken, and it takes one. What a killed process has counted since its last scrape is lost.
- `wft_attempts_*`, `wft_accelerator_seconds_total` and ends with a result are shown as 0 as soon as a run of that
  namespace and runtime is seen. A failure's series appears with the first one, which `increase()` does not see. So
  alerts take attempts.
- Accelerator-seconds are counted when an attempt ends. `wft_accelerators_in_use` has what is in use now.
- Watches are no part of `wft_api_requests_total`.
"""


def fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Yield (dotted path, schema, required) for each field, depth first."""
    for name, node in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        yield path, node, name in schema.get("required", [])
        inner = node.get("items", node)
        yield from fields(inner, f"{path}{'[]' if 'items' in node else ''}.")


def field_row(path: str, node: dict[str, Any], *, required: bool) -> tuple[str, ...]:
    """Return the row of one field with its name, type and bounds, default, and meaning."""
    default = "required" if required else f"`{node['default']}`" if node.get("default", {}) != {} else ""
    return f"`{path}`", kind(node), default, node.get("description", "")


def kind(node: dict[str, Any]) -> str:
    """Return a field's type and bounds in words."""
    if "enum" in node and len(node["enum"]) <= _LONGEST_LIST:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "enum" in node:
        return f"one of {len(node['enum'])}"
    name = "number in quotation marks" if _is_number_as_text(node) else node["type"]
    return ", ".join([name, *[words.format(node[key]) for key, words in _BOUNDS.items() if key in node]])


def _is_number_as_text(node: dict[str, Any]) -> bool:
    """Return whether a field is a fraction, which the Kubernetes API keeps as a string."""
    pattern = node.get("pattern", "")
    matched = [text for text in ("0.1", "a", "1Gi") if re.search(pattern, text)]
    return node["type"] == "string" and matched == ["0.1"]


def api_text() -> str:
    """Return docs/api.md."""
    properties = crd.custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    header = ("field", "type", "default", "meaning")
    spec, status = (
        table(header, [field_row(path, node, required=required) for path, node, required in fields(properties[part])])
        for part in ("spec", "status")
    )
    causes = [
        (f"`{cause.reason}`", cause.kind, "" if cause.exit_code is None else str(cause.exit_code), cause.meaning)
        for cause in CAUSES
    ]
    return _API_TEXT.format(
        mutable=", ".join(f"`{field}`" for field in MUTABLE_FIELDS),
        spec=spec,
        rules="\n".join(f"- {found.message}" for found in RULES),
        status=status,
        causes=table(("reason", "kind", "trainer's exit code", "meaning"), causes),
    )


def _memory_rows() -> Iterator[tuple[str, str, str]]:
    """Yield the least that a training takes on a GPU. Models of the same size share a row."""
    names: dict[tuple[str, str], list[str]] = {}
    for model, dimensions in DIMENSIONS.items():
        least = [run_plan.least_bytes(Training(trainable=trainable), dimensions) for trainable in ("All", "Decoder")]
        whole, decoder = (f"{size / 1024**3:.1f}" for size in least)
        names.setdefault((whole, decoder), []).append(f"`{model}`")
    for (whole, decoder), models in names.items():
        yield ", ".join(models), whole, decoder


def runtimes_text() -> str:
    """Return docs/runtimes.md."""
    rows = [
        field_row(path, node, required=required) for path, node, required in fields(crd.structural_schema(Runtimes))
    ]
    return _RUNTIMES_TEXT.format(
        table=table(("field", "type", "default", "meaning"), rows),
        memory=table(("model", "GiB, all weights", "GiB, the decoder alone"), _memory_rows()),
        example=EXAMPLE.read_text(encoding="utf-8"),
    )


def metrics_text() -> str:
    """Return docs/metrics.md."""
    rows = [
        (f"`{row.name}`", row.kind, ", ".join(f"`{label}`" for label in row.labels), row.unit, row.help)
        for row in METRICS
    ]
    return _METRICS_TEXT.format(
        metrics=table(("metric", "kind", "labels", "unit", "meaning"), rows),
        labels=table(("label", "values"), [(f"`{label}`", text) for label, text in LABELS.items()]),
    )


def ipus_text() -> str:
    """Return docs/ipus.md."""
    text = IPUS_TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("<!-- sizes -->", table(ipu_sizes.HEADER, ipu_sizes.rows()))
    return text.replace("<!-- settings -->", table(notebook_settings.HEADER, notebook_settings.rows()))


def data_text() -> str:
    """Return docs/data.md."""
    text = DATA_TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("<!-- datasets -->", table(dataset_specs.HEADER, dataset_specs.rows()))
    text = text.replace("<!-- rules -->", table(dataset_specs.RULES_HEADER, dataset_specs.rule_rows()))
    return text.replace("<!-- specs -->", dataset_specs.specs())


def alert_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield each alert with a link to what an admin does about it."""
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            link = f"[{rule['alert']}](#{rule['alert'].lower()})"
            yield link, rule["labels"]["severity"], rule["for"], rule["annotations"]["description"]


def operations_text() -> str:
    """Return docs/operations.md. Its template has what is to be done, under a heading for each alert and cause."""
    text = OPERATIONS_TEMPLATE.read_text(encoding="utf-8")
    causes = [(f"[{cause.reason}](#{cause.reason.lower()})", cause.kind, cause.meaning) for cause in CAUSES]
    text = text.replace("<!-- alerts -->", table(("alert", "severity", "after", "meaning"), alert_rows()))
    return text.replace("<!-- causes -->", table(("reason", "kind", "meaning"), causes))


def main() -> None:
    """Write all files."""
    files = {
        CRD: crd.render_crd(),
        CHART_CRD: crd.render_crd(),
        API: api_text(),
        RUNTIMES: runtimes_text(),
        METRICS_PAGE: metrics_text(),
        IPUS: ipus_text(),
        DATA: data_text(),
        OPERATIONS: operations_text(),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
