"""Further data sets on emulated IPUs: each is heard in its own language and task, also by a decoder compiled before."""

from pathlib import Path
from typing import Any, List

import pytest
import tiny_model
from ipu_runs import IpuVolume, write_speech
from transformers import WhisperTokenizer

from whisper_finetune_trainer.ipu.trainer import IpuTrainer


@pytest.mark.parametrize("at_a_time", [0, 8])
def test_each_is_heard_after_a_prompt_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    speech = write_speech(tmp_path / "speech")
    tiny_model.write_clips(speech / "calls", 20, name="test")
    prompts: List[List[int]] = []
    generate = IpuTrainer.generate

    def note(self: IpuTrainer, examples: Any, on_clip: Any) -> Any:
        tokens = generate(self, examples, on_clip)
        prompts.append([int(token) for token in tokens[0, 1:3]])
        return tokens

    monkeypatch.setattr(IpuTrainer, "generate", note)
    source = "pvc://speech/calls"
    named = [
        {"name": "spanish", "source": source, "language": "es"},
        {"name": "translated", "source": source, "task": "translate"},
        {"name": "own", "source": source},
    ]
    volume = IpuVolume(speech, tmp_path)
    spec = {"evaluations": named, "ipuConfig": {"onDeviceGenerationSteps": at_a_time}}
    ended = volume.attempt(volume.config(steps=1, spec=spec))
    assert ended.exit_code == 0, ended.result.message
    measured = [each for each in ended.result.evaluations or () if each.name != "long-form"]
    assert [(each.name, each.language, each.metric) for each in measured] == [
        ("spanish", "es", None),
        ("translated", None, "chrf"),
        ("own", None, None),
    ]
    assert all(each.verdict for each in measured)
    tokens = WhisperTokenizer.from_pretrained(str(speech / "model"))
    names = ("es", "it", "transcribe", "translate")
    spanish, italian, transcribe, translate = (tokens.convert_tokens_to_ids(f"<|{name}|>") for name in names)
    once = [[italian, transcribe], [spanish, transcribe], [italian, translate], [italian, transcribe]]
    assert prompts == once * 2
