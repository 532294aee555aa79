"""What happens to the disturbed cluster. Each fault is one function of the stage, and ends by itself."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import yaml

from chaos.proxy import Trouble
from chaos.stage import JOBS, NODES, PODS, RUNS, Stage, until
from cluster.clusters.simulated_nodes import SIMULATION

Fault = Callable[[Stage], Awaitable[None]]
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
_SECONDS_TO_LEAD = 120


async def disturb(stage: Stage, seconds: float, order: random.Random) -> None:
    """Let one fault follow another for so long, now and then two at a time, in an order of their own."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        chosen = order.sample(FAULTS, order.choice((1, 1, 2)))
        await asyncio.gather(*(fault(stage) for fault in chosen))
        await asyncio.sleep(stage.chance.uniform(0, 3))


async def kill_leader(stage: Stage) -> None:
    leader = await stage.leader()
    if leader is not None:
        stage.say(f"replica {leader}, which leads, is killed")
        stage.held_down.add(leader)
        stage.replicas[leader].kill()
        await _note_fail_over(stage, "killed")
        stage.start_replica(leader)


async def update_replicas(stage: Stage) -> None:
    """End and start one replica after the other, as a rolling update does."""
    for name in list(stage.replicas):
        if name in stage.held_down:
            continue
        leads = await stage.leader() == name
        stage.say(f"replica {name}{', which leads,' if leads else ''} is updated")
        stage.held_down.add(name)
        stopping = asyncio.create_task(asyncio.to_thread(stage.replicas[name].stop))
        if leads:
            await _note_fail_over(stage, "updated")
        await stopping
        stage.start_replica(name)
        await until(lambda name=name: _answers(stage, name), f"replica {name} answers", _SECONDS_TO_LEAD)


async def freeze_leader(stage: Stage) -> None:
    """Stop the leader for longer than its Lease lasts: it must not act when it goes on."""
    leader = await stage.leader()
    if leader is not None:
        seconds = stage.chance.uniform(5, 30)
        stage.say(f"replica {leader}, which leads, is frozen for {seconds:.0f} s")
        stage.held_down.add(leader)
        await _paused(stage.replicas[leader].process.pid, seconds)
        stage.held_down.discard(leader)


async def _answers(stage: Stage, name: str) -> bool:
    return (await asyncio.to_thread(stage.replicas[name].health))[0] != 0


async def _note_fail_over(stage: Stage, what: str) -> None:
    began = time.monotonic()
    await until(stage.leader, "another replica leads", _SECONDS_TO_LEAD)
    stage.fail_overs.append((what, time.monotonic() - began))


def kills(program: str) -> Fault:
    """Return the fault that a program of the control plane is killed. It is started anew after a second."""

    async def kill_program(stage: Stage) -> None:
        process = stage.process_of(program)
        if process is not None:
            stage.say(f"{program} is killed")
            os.kill(process, signal.SIGKILL)
            await asyncio.sleep(stage.chance.uniform(2, 6))

    return kill_program


def pauses(program: str) -> Fault:
    """Return the fault that a program of the control plane stands still."""

    async def pause_program(stage: Stage) -> None:
        process = stage.process_of(program)
        if process is not None:
            seconds = stage.chance.uniform(3, 20)
            stage.say(f"{program} stands still for {seconds:.0f} s")
            await _paused(process, seconds)

    return pause_program


async def _paused(process: int, seconds: float) -> None:
    os.kill(process, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(process, signal.SIGCONT)


def troubles(text: str, trouble: Trouble) -> Fault:
    """Return the fault that befalls the operator's requests for some seconds."""

    async def trouble_requests(stage: Stage) -> None:
        seconds = stage.chance.uniform(3, 12)
        stage.say(f"for {seconds:.0f} s {text}")
        stage.proxy.trouble = trouble
        await asyncio.sleep(seconds)
        stage.proxy.trouble = Trouble()

    return trouble_requests


async def cut_watches(stage: Stage) -> None:
    stage.say("all watches are cut")
    stage.proxy.cut_watches()


async def delete_pods(stage: Stage) -> None:
    found = [pod for pod in await stage.listed(PODS) if pod["status"].get("phase") in ("Pending", "Running")]
    chosen = stage.chance.sample(found, min(len(found), stage.chance.randint(1, 6)))
    await _delete(stage, chosen, "pods", [{}, {"gracePeriodSeconds": 0}])


async def delete_jobs(stage: Stage) -> None:
    found = await stage.listed(JOBS)
    chosen = stage.chance.sample(found, min(len(found), stage.chance.randint(1, 4)))
    await _delete(stage, chosen, "jobs", [{"propagationPolicy": each} for each in ("Background", "Foreground")])


async def _delete(stage: Stage, chosen: list[dict[str, Any]], plural: str, ways: list[dict[str, Any]]) -> None:
    stage.say(f"{len(chosen)} {plural} are deleted by hand")
    for each in chosen:
        metadata = each["metadata"]
        stage.by_hand.add(metadata["uid"])
        group = "/apis/batch/v1" if plural == "jobs" else "/api/v1"
        path = f"{group}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
        await stage.ask("DELETE", path, json={"kind": "DeleteOptions", "apiVersion": "v1", **stage.chance.choice(ways)})


async def make_runs_anew(stage: Stage) -> None:
    """Delete some runs, and make them again at once under their names."""
    found = await stage.listed(RUNS)
    chosen = stage.chance.sample(found, min(len(found), 3))
    stage.say(f"{len(chosen)} runs are deleted and made anew")
    for run in chosen:
        metadata = run["metadata"]
        plural_path = RUNS.rpartition("/")
        path = f"{plural_path[0]}/namespaces/{metadata['namespace']}/{plural_path[2]}/{metadata['name']}"
        await stage.ask("DELETE", path)
        head = {key: run[key] for key in ("apiVersion", "kind")}
        names = {key: metadata[key] for key in ("name", "namespace")}
        await stage.create_run({**head, "metadata": names, "spec": run["spec"]})


async def suspend_runs(stage: Stage) -> None:
    """Suspend some runs and let them go on a few seconds later."""
    found = [run for run in await stage.listed(RUNS) if run["status"].get("state") not in ("Succeeded", "Failed")]
    chosen = stage.chance.sample(found, min(len(found), 4))
    stage.say(f"{len(chosen)} runs are suspended for a while")
    for suspended in (True, False):
        for run in chosen:
            metadata = run["metadata"]
            head, _, plural = RUNS.rpartition("/")
            path = f"{head}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
            headers = {"Content-Type": "application/merge-patch+json"}
            await stage.ask("PATCH", path, json={"spec": {"suspend": suspended}}, headers=headers)
        await asyncio.sleep(stage.chance.uniform(1, 6))


async def lose_node(stage: Stage) -> None:
    """Delete a node, and with it what runs there. Later there is one of its name again."""
    name = f"kwok-{stage.chance.randrange(1, NODES)}"
    stage.say(f"node {name} is lost")
    stage.by_hand.add(name)
    await stage.ask("DELETE", f"/api/v1/nodes/{name}")
    await asyncio.sleep(stage.chance.uniform(2, 10))
    node = yaml.safe_load((SIMULATION / "node.yaml").read_text(encoding="utf-8"))
    node["metadata"] = {**node["metadata"], "name": name}
    await stage.ask("POST", "/api/v1/nodes", json=node)


async def hang_webhook(stage: Stage) -> None:
    """Let a webhook be asked about each new Job that takes the request and never answers."""
    host = stage.cluster.running_plan().addresses.host
    server = await asyncio.start_server(lambda reader, _: reader.read(), host, 0)
    port = server.sockets[0].getsockname()[1]
    name = "chaos.example.com"
    hook = {
        "name": name,
        "clientConfig": {"url": f"https://{host}:{port}/"},
        "rules": [{"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}],
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 3,
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    stage.say("a webhook for Jobs hangs")
    await stage.ask("POST", _WEBHOOKS, json={**head, "metadata": {"name": name}, "webhooks": [hook]})
    await asyncio.sleep(stage.chance.uniform(4, 12))
    await stage.ask("DELETE", f"{_WEBHOOKS}/{name}")
    server.close()


FAULTS: list[Fault] = [
    kill_leader,
    update_replicas,
    freeze_leader,
    kills("kube-apiserver"),
    kills("etcd"),
    kills("kube-controller-manager"),
    pauses("kube-apiserver"),
    pauses("etcd"),
    pauses("kube-controller-manager"),
    troubles("every second request is refused with 429, 500 or 503", Trouble(refused=50)),
    troubles("every third write conflicts", Trouble(refused=33, codes=(409,))),
    troubles("the answers to every second write are lost", Trouble(lost_answers=50)),
    troubles("each request waits up to 8 s", Trouble(delay_seconds=8.0)),
    troubles("the operator's token has expired", Trouble(unauthorized=True)),
    cut_watches,
    delete_pods,
    delete_jobs,
    make_runs_anew,
    suspend_runs,
    lose_node,
    hang_webhook,
]
