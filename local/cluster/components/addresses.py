"""Which addresses a cluster gets: the same for the same name, and none that the host uses already."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from cluster.faults import ClusterError

CHOICES = 200
SERVICES = IPv4Network("10.96.0.0/16")
"""They are known only inside the cluster's own network namespace, so every cluster has the same."""

FOR_BENCHMARKS = IPv4Network("198.18.0.0/15")
"""RFC 2544 reserves it for benchmarks. No host on the internet has an address in it."""


@dataclass(frozen=True)
class ClusterAddresses:
    """The addresses of the link between host and cluster, and of the pods. `choice` is one of CHOICES."""

    choice: int

    @property
    def link(self) -> IPv4Network:
        return IPv4Network(f"10.243.{self.choice}.0/30")

    @property
    def pods(self) -> IPv4Network:
        return IPv4Network(f"10.244.{self.choice}.0/24")

    @property
    def simulated_pods(self) -> IPv4Network:
        """Addresses that no machine has. A simulated pod must not seem to be a machine of the host's real network."""
        return IPv4Network((int(FOR_BENCHMARKS.network_address) + self.choice * 512, 23))

    @property
    def host(self) -> str:
        return str(self.link[1])

    @property
    def node(self) -> str:
        return str(self.link[2])

    @property
    def host_interface(self) -> str:
        return f"wft-host-{self.choice}"

    @property
    def node_interface(self) -> str:
        return f"wft-node-{self.choice}"

    @property
    def api_server(self) -> str:
        return f"https://{self.node}:6443"

    def overlaps(self, taken: Sequence[IPv4Network]) -> bool:
        return any(network.overlaps(mine) for network in taken for mine in (self.link, self.pods, self.simulated_pods))


def choose_addresses(name: str, taken: Sequence[IPv4Network]) -> ClusterAddresses:
    """Return the addresses for a cluster's name, or the next ones that overlap with no network in `taken`."""
    first = zlib.crc32(name.encode()) % CHOICES
    for offset in range(CHOICES):
        addresses = ClusterAddresses((first + offset) % CHOICES)
        if not addresses.overlaps(taken):
            return addresses
    raise ClusterError(
        f"no free addresses for cluster {name!r}: the host's routes cover all of 10.243.0.0/16, 10.244.0.0/16 or "
        f"{FOR_BENCHMARKS}; end other clusters, or use CLUSTER=kind"
    )
