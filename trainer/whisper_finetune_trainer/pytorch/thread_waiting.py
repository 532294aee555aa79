"""How PyTorch's threads wait for each other on a CPU."""

import os


def make_passive() -> None:
    """Let a thread that waits for the others sleep; to be called before PyTorch is loaded, which reads this once.

    By default it spins, and so takes the CPU from the very thread it waits for where others use the machine too: on two
    busy cores training was five times slower, on two idle ones as fast.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
