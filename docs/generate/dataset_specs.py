"""The part of docs/data.md that is generated from the table of known data sets: facts, and a ready spec for each."""

from collections.abc import Iterator

from whisper_finetune_trainer.data.hub import known_datasets
from whisper_finetune_trainer.data.hub.known_datasets import KnownDataset
from whisper_finetune_trainer.data.text_rules import RULES

HEADER = ("data set", "`dataset.source`", "languages", "text", "Parquet files", "checked against")
RULES_HEADER = ("rule", "what it does", "data sets")
#: Languages that the examples are in, where the data set has them.
_EXAMPLES = ("ca", "it", "en")

_SPEC = """### {name}

```yaml
apiVersion: whisperfinetune.dev/v1alpha1
kind: WhisperFineTune
metadata:
  name: {slug}
spec:
  model: openai/whisper-small
  language: {language}
  dataset:
{dataset}
{secrets}  output:
    uri: s3://speech-models/{slug}
```
"""
_SECRETS = """  secretRefs:
  - name: hub
    keys: [HF_TOKEN]
"""


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the row of each data set."""
    for known in known_datasets.KNOWN:
        sources = ", ".join(f"`{name}`" for name in known.hub_ids)
        gated = " (gated: accept its terms)" if known.gated else ""
        languages = ", ".join(sorted(known.configs))
        yield known.name, sources + gated, languages, f"`{known.text_column}`", known.parquet, known.checked_against


def rule_rows() -> Iterator[tuple[str, ...]]:
    """Yield the row of each rule of texts."""
    for name, rule in RULES.items():
        yield name, rule.meaning, ", ".join(known.name for known in known_datasets.KNOWN if name in known.rules)


def specs() -> str:
    """Return a ready spec for each data set."""
    return "\n".join(spec(known) for known in known_datasets.KNOWN)


def spec(known: KnownDataset) -> str:
    """Return the section of one data set."""
    language = next((code for code in _EXAMPLES if code in known.configs), min(known.configs))
    fields = {"source": known.hub_ids[0]}
    if len(known.configs[language]) > 1 or known.name == "OpenSLR":
        fields["config"] = known.configs[language][0]
    if known.eval_split is not None:
        fields["evalSplit"] = known.eval_split
    slug = known.name.lower().replace(" ", "-").replace("'", "")
    return _SPEC.format(
        name=known.name,
        slug=f"{slug}-{language}",
        language=language,
        dataset="\n".join(f"    {name}: {value}" for name, value in fields.items()),
        secrets=_SECRETS if known.gated else "",
    )
