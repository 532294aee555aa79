"""The finished run of a demo whose cluster is still up: its spec, its status, and where its files are."""

from dataclasses import dataclass
from pathlib import Path

from kubernetes import config

from demo import bucket, volume
from demo.demo_cluster import DemoCluster
from demo.faults import DemoError
from demo.scenarios import Scenario
from images import loading
from whisper_finetune_api.v1alpha1 import Model, RanOn, Result, WhisperFineTuneSpec, WhisperFineTuneStatus


@dataclass(frozen=True)
class FinishedRun:
    """A run with a result."""

    spec: WhisperFineTuneSpec
    model: Model
    result: Result
    ran_on: RanOn
    report: str | None
    #: The folder of this machine that has the claim's or the bucket's content.
    shared: Path

    def path(self, uri: str) -> Path:
        """Return the path on this machine of an address of the run."""
        return volume.folder_of(uri, self.shared)


def find(cluster: str, scenario: Scenario) -> FinishedRun:
    """Return the scenario's run in the cluster of that name. Raises DemoError where it has no result."""
    kubeconfig = loading.cluster_program("kubeconfig", "--name", cluster)
    with config.new_client_from_config(kubeconfig) as api:
        found = DemoCluster(api).run(scenario.run_name)
    status = WhisperFineTuneStatus.model_validate(found.get("status", {}) if found else {})
    if not (status.model and status.result and status.ran_on):
        raise DemoError(f"the run {scenario.run_name} has no result: `python local/demo run` makes one")
    spec, folder = WhisperFineTuneSpec.model_validate(scenario.run["spec"]), shared(cluster, scenario)
    return FinishedRun(spec, status.model, status.result, status.ran_on, status.report, folder)


def shared(cluster: str, scenario: Scenario) -> Path:
    """Return the folder of this machine with the scenario's data and results."""
    if scenario.in_bucket:
        # The server keeps one file for each object.
        return bucket.folder_of(store_folder(cluster))
    return Path(loading.cluster_program("volume", volume.CLAIM, "--name", cluster))


def store_folder(cluster: str) -> Path:
    """Return the folder that the demo's S3 server works in."""
    return Path(loading.cluster_program("volume", f"{volume.CLAIM}-store", "--name", cluster))
