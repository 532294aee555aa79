"""Let `python bench/PROGRAM.py` import the project's packages, and let threads wait as they do in the trainer.

Import it before those packages, which are not installed, and before PyTorch.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in ("crds", "operator", "trainer", "local", "tests")]

from whisper_finetune_trainer.machine import pod_limits  # noqa: E402 -- the line above finds it

pod_limits.make_waiting_passive()
