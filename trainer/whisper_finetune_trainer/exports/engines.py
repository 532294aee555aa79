"""The engines of exports: what each export is called, where it lies, and what drives its engine.

An engine is loaded only in a process of its own (`engine_process`), and only where its export is asked for.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterable, Protocol, Tuple

import numpy as np
from typing_extensions import TypeAlias

from whisper_finetune_api.v1alpha1.exports import ExportName
from whisper_finetune_trainer.messages.errors import TrainerError
from whisper_finetune_trainer.model.generation import Transcript

Samples: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: Returns what an engine heard of samples (n,) at 16 kHz that last so many seconds.
Hear = Callable[[Samples, float], Transcript]


@dataclass(frozen=True)
class HearingSettings:
    """How a run's model is measured, so that every engine is asked for the same: greedy, and no token suppressed."""

    #: Start, language, task, no timestamps.
    prompt_ids: Tuple[int, ...]
    #: Each of these tokens ends a text.
    end_ids: FrozenSet[int]
    #: How many tokens a text and its prompt have at most.
    most_tokens: int


class Engine(Protocol):
    """Makes an export, and hears with it."""

    def convert(self, model: Path, target: Path, weights: str) -> None:
        """Write the export of a plain Hugging Face folder into an existing folder, with weights of a kind."""

    def open(self, target: Path, settings: HearingSettings, threads: int) -> Hear:
        """Load an export from its own files alone, and return how it hears."""


@dataclass(frozen=True)
class ExportKind:
    """One of output.exports."""

    name: ExportName
    #: Its folder, below the run's.
    path: str
    #: The Python packages that make it and hear it.
    packages: Tuple[str, ...]
    #: The module whose `ENGINE` drives that engine.
    module: str
    #: What its engine calls the kind of weights.
    weights: str
    #: What it is, and how it is used, in Markdown.
    card: str


_FASTER_WHISPER = """\
CTranslate2's form, with weights in {weights}. faster-whisper and WhisperX load it:

```python
from faster_whisper import WhisperModel

model = WhisperModel("THIS FOLDER")
segments, _ = model.transcribe("speech.wav", language="{language}", task="{task}", suppress_tokens=[])
print("".join(segment.text for segment in segments))
```

Without `suppress_tokens=[]` that library never writes signs such as `: / @ ( "`.
"""
_WHISPER_CPP = """\
whisper.cpp's form, with weights in {weights}:

```sh
whisper-cli -m ggml-model.bin -l {language} -nfa -f speech.wav    # with -tr, where the task is translate
```

`-nfa` is without flash attention, as it was heard here. On CPUs that adds in float16, and hears other words at times.
"""
_ONNX_RUNTIME = """\
ONNX graphs with weights in {weights}, for ONNX Runtime. `encoder_model.onnx` turns `input_features` of one window into
`last_hidden_state`. `decoder_model.onnx` turns `input_ids`, all tokens so far, and `encoder_hidden_states` into
`logits`. It has no cache of earlier tokens. `generation_config.json` has the tokens that a text begins with, for
language `{language}` and task `{task}`. Files, inputs and outputs have the names that optimum gives them.
"""
_CTRANSLATE2 = "whisper_finetune_trainer.exports.ctranslate2_engine"
_GGML = "whisper_finetune_trainer.exports.whisper_cpp_engine"
_ONNX = "whisper_finetune_trainer.exports.onnx_engine"
KINDS: Dict[ExportName, ExportKind] = {
    kind.name: kind
    for kind in (
        ExportKind("CTranslate2", "exports/ctranslate2", ("ctranslate2",), _CTRANSLATE2, "float16", _FASTER_WHISPER),
        ExportKind(
            "CTranslate2Int8", "exports/ctranslate2-int8", ("ctranslate2",), _CTRANSLATE2, "int8", _FASTER_WHISPER
        ),
        ExportKind("WhisperCpp", "exports/whisper-cpp", ("_pywhispercpp",), _GGML, "float16", _WHISPER_CPP),
        ExportKind("WhisperCppQ5", "exports/whisper-cpp-q5", ("_pywhispercpp",), _GGML, "q5_0", _WHISPER_CPP),
        ExportKind("Onnx", "exports/onnx", ("onnxscript", "onnxruntime"), _ONNX, "float32", _ONNX_RUNTIME),
    )
}


def require_engines(names: Iterable[ExportName]) -> None:
    """Raise ConfigInvalid where this image has no engine for one of the exports."""
    for name in names:
        package = next((each for each in KINDS[name].packages if importlib.util.find_spec(each) is None), None)
        if package is not None:
            raise TrainerError(
                "ConfigInvalid",
                f"output.exports: {name} needs the Python package {package}, which this image does not have; take an "
                f"image that was built with --build-arg EXPORTS=yes, or leave {name} out",
            )
