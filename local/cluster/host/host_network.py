"""The pair of interfaces between the host and a cluster, and the host's routes over it."""

import ipaddress
import json
import subprocess
from ipaddress import IPv4Network

from cluster.components.addresses import ClusterAddresses
from cluster.faults import ClusterError
from cluster.host.isolation import Isolation


def connect(addresses: ClusterAddresses, isolation: Isolation) -> None:
    """Link the host with the cluster's network namespace. The link vanishes with the namespace."""
    host, node = addresses.host_interface, addresses.node_interface
    prefix = addresses.link.prefixlen
    ip("link", "add", host, "type", "veth", "peer", "name", node, "netns", str(isolation.pid))
    ip("address", "add", f"{addresses.host}/{prefix}", "dev", host)
    ip("link", "set", host, "up")
    for command in (
        ["address", "add", f"{addresses.node}/{prefix}", "dev", node],
        ["link", "set", node, "up"],
        ["link", "set", "lo", "up"],
        ["route", "add", "default", "via", addresses.host],
    ):
        ip(*command, inside=isolation)
    # The host reaches the pods, as an operator that runs there needs it.
    ip("route", "add", str(addresses.pods), "via", addresses.node)
    # Simulated pods are unreachable, and whoever tries is told so at once, on the host and in a pod.
    ip("route", "add", str(addresses.simulated_pods), "via", addresses.node)
    ip("route", "add", "unreachable", str(addresses.simulated_pods), inside=isolation)


def disconnect(addresses: ClusterAddresses) -> None:
    """Remove the host's end of the link. Usually it is gone with the namespace, unless something keeps that alive."""
    if addresses.host_interface in interfaces(ip("-json", "link", "show", "type", "veth")):
        subprocess.run(["ip", "link", "delete", addresses.host_interface], check=False, capture_output=True)


def interfaces(ip_link_json: str) -> set[str]:
    return {link["ifname"] for link in json.loads(ip_link_json or "[]") if "ifname" in link}


def networks_in_use() -> list[IPv4Network]:
    return routed_networks(ip("-json", "route", "show", "table", "all"))


def routed_networks(ip_route_json: str) -> list[IPv4Network]:
    """Return the IPv4 networks that the host has routes to, except for the default route."""
    destinations = [route.get("dst", "default") for route in json.loads(ip_route_json or "[]")]
    return [
        ipaddress.IPv4Network(destination, strict=False)
        for destination in destinations
        if destination != "default" and ":" not in destination
    ]


def ip(*arguments: str, inside: Isolation | None = None) -> str:
    command = [*(inside.enter_network if inside else []), "ip", *arguments]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        raise ClusterError(f"`{' '.join(command)}` failed: {ran.stderr.strip()}")
    return ran.stdout
