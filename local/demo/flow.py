"""`make demo`: from nothing to a word error rate on a real cluster, with each step shown."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from kubernetes import config

from demo import bucket, following, operator_installation, volume
from demo.demo_cluster import DemoCluster
from demo.faults import DemoError
from demo.folders import DemoFolders
from demo.following import RunProgress
from demo.result import finished, next_steps, table
from demo.scenarios import Scenario
from demo.stopwatch import Stopwatch
from images import loading
from images.recipes import REPOSITORY

SECONDS_TO_DELETE = 120


@dataclass(frozen=True)
class Flow:
    """The demo on the local cluster of that name."""

    name: str
    scenario: Scenario
    folders: DemoFolders
    watch: Stopwatch

    def run(self) -> None:
        """Do the whole demo, and leave the cluster up. Raises DemoError where the run does not succeed."""
        with self.watch.step("starting the cluster"):
            loading.cluster_program("up", "--name", self.name)
        kubeconfig = Path(loading.cluster_program("kubeconfig", "--name", self.name))
        self.scenario.prepare(self.folders, self.watch)
        with config.new_client_from_config(str(kubeconfig)) as api, contextlib.ExitStack() as held:
            cluster = DemoCluster(api)
            self.install(cluster, kubeconfig)
            shared = (
                self.fill_bucket(cluster, kubeconfig, held) if self.scenario.in_bucket else self.fill_volume(cluster)
            )
            progress = self.fine_tune(cluster, shared)
        self.conclude(progress, kubeconfig, shared)

    def install(self, cluster: DemoCluster, kubeconfig: Path) -> None:
        with self.watch.step("building and loading the images"):
            wanted = (operator_installation.OPERATOR.name, self.scenario.trainer.name)
            loading.load_images(self.name, cluster.core, *wanted)
        with self.watch.step("installing the operator"):
            operator_installation.install(kubeconfig, self.scenario)

    def fill_volume(self, cluster: DemoCluster) -> Path:
        """Put model and speech on the volume. Return the node's folder behind the claim."""
        with self.watch.step("putting model and speech on the volume"):
            shared = finished.shared(self.name, self.scenario)
            self.scenario.fill(self.folders, shared)
            for manifest in volume.manifests(shared, cluster.namespace):
                cluster.apply(manifest)
        return shared

    def fill_bucket(self, cluster: DemoCluster, kubeconfig: Path, held: contextlib.ExitStack) -> Path:
        """Put model and speech into the bucket. Return the folder behind it. Its server runs as long as `held`."""
        with self.watch.step("putting model and speech into a bucket"):
            folder = finished.store_folder(self.name)
            store = held.enter_context(bucket.serving(folder, kubeconfig))
            self.scenario.fill(self.folders, folder / "local")
            bucket.upload(store, folder / "local")
            cluster.apply(bucket.secret(store, cluster.namespace))
        self.watch.say(f"the bucket is s3://{bucket.BUCKET} at {store.endpoint}")
        return finished.shared(self.name, self.scenario)

    def fine_tune(self, cluster: DemoCluster, shared: Path) -> RunProgress:
        """Create the run anew, and follow it to its end."""
        name = self.scenario.run_name
        self.forget_earlier(cluster, name)
        volume.forget_runs(shared, name)
        self.watch.say(f"kubectl apply -f {self.scenario.example.relative_to(REPOSITORY)}")
        cluster.apply(self.scenario.run)
        progress = following.follow(lambda: cluster.run(name), self.watch)
        if progress.state != "Succeeded":
            raise DemoError(explain_failure(progress, cluster))
        return progress

    def forget_earlier(self, cluster: DemoCluster, name: str) -> None:
        """Delete the run of an earlier demo, and wait until all that belonged to it is gone."""
        if cluster.run(name) is None:
            return
        with self.watch.step(f"deleting the earlier run {name}"):
            cluster.delete_run(name)
            deadline = time.monotonic() + SECONDS_TO_DELETE
            while cluster.run(name):
                if time.monotonic() > deadline:
                    raise DemoError(f"the earlier run {name} is still there {SECONDS_TO_DELETE} s after its deletion")
                time.sleep(1)

    def conclude(self, progress: RunProgress, kubeconfig: Path, shared: Path) -> None:
        """Print the result, where the time went, and commands to go on with."""
        status, seconds = progress.status, self.watch.seconds
        if not (status.baseline and status.result and status.model):
            raise DemoError(f"the run succeeded without a baseline, a result or a model in its status: {status}")
        folder = volume.folder_of(status.model.uri, shared)
        print("", table.figures(status.baseline, status.result), "", sep="\n")
        print(table.facts(status, seconds.get(following.TRAINING, 0.0)))
        print(table.fact("model", status.model.uri), table.fact("", str(folder)), sep="\n")
        print("", "where the time went", table.breakdown(seconds, self.watch.elapsed), "", sep="\n")
        print(next_steps.text(kubeconfig, self.name, folder, self.scenario))
        print(self.scenario.caveat and f"\n{self.scenario.caveat}", end="\n" if self.scenario.caveat else "")


def explain_failure(progress: RunProgress, cluster: DemoCluster) -> str:
    """Return reason and message of the status, and the end of the trainer's log. Without a pod it is the operator's."""
    status = progress.status
    if status.pod_name:
        log, name = cluster.log_of(status.pod_name, cluster.namespace), f"trainer pod {status.pod_name}"
    else:
        log, name = cluster.operator_log(), "operator"
    return f"the run failed: {progress.reason}: {progress.message}\n--- last lines of the {name}\n{log}"
