"""docs/data.md: every spec in it is valid, and every data set of the table has one."""

import re
from typing import Any

import pytest
import yaml

from repository import ROOT
from whisper_finetune_api import v1alpha1
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data.hub import known_datasets

TEXT = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
SPECS: dict[str, dict[str, Any]] = {
    found["metadata"]["name"]: found for found in map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL))
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_is_valid(name: str) -> None:
    spec = SPECS[name]
    assert (spec["apiVersion"], spec["kind"]) == (f"{v1alpha1.GROUP}/{v1alpha1.VERSION}", v1alpha1.KIND)
    WhisperFineTuneSpec.model_validate(spec["spec"])


def test_every_data_set_of_the_table_has_a_spec() -> None:
    sources = {spec["spec"]["dataset"]["source"] for spec in SPECS.values()}
    assert {known.hub_ids[0] for known in known_datasets.KNOWN} <= sources


@pytest.mark.parametrize("known", known_datasets.KNOWN, ids=lambda known: known.name)
def test_a_spec_gives_what_the_data_set_needs(known: known_datasets.KnownDataset) -> None:
    spec = next(found["spec"] for found in SPECS.values() if found["spec"]["dataset"]["source"] == known.hub_ids[0])
    configs = known.configs[spec["language"]]
    assert spec["dataset"].get("config", configs[0]) in configs
    assert len(configs) == 1 or "config" in spec["dataset"]
    assert spec["dataset"].get("evalSplit") == known.eval_split
    assert f"| {known.checked_against} |" in TEXT
    assert known.gated == any("HF_TOKEN" in secret["keys"] for secret in spec.get("secretRefs", []))
