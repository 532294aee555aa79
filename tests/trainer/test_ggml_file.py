"""whisper.cpp's file, by the engine itself: its vocabulary and its mel filters are what it hears with."""

from __future__ import annotations

import ctypes
import itertools
import struct
from collections.abc import Sequence
from pathlib import Path

import _pywhispercpp
import numpy as np
import pytest
from transformers import WhisperTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

import tiny_whisper
import tones
from whisper_finetune_trainer.exports import ggml_file
from whisper_finetune_trainer.exports.engine_process import EngineError, EngineProcess
from whisper_finetune_trainer.exports.engines import KINDS, HearingSettings
from whisper_finetune_trainer.exports.whisper_cpp_engine import ENGINE
from whisper_finetune_trainer.model.generation import Transcript

pytestmark = pytest.mark.slow
Q5_0, BLOCK_BYTES = 6, 22
#: Whisper's multilingual vocabulary has so many tokens of texts.
TEXT_TOKENS = 50257
FILTERS = 4 * 12
SECONDS = 1.0
#: The engine takes the smallest of Whisper's models for one of four layers, and knows one proportion of widths.
_SIZES = {"layers": 4, "ffn_dim": 512}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small model of random weights with as many tokens as Whisper has: bytes, and pairs of bytes."""
    pairs = itertools.product(bytes_to_unicode().values(), repeat=2)
    merges = tuple(itertools.islice(pairs, TEXT_TOKENS - 256))
    folder = tmp_path_factory.mktemp("model")
    layers = {f"{side}_{name}": number for side in ("encoder", "decoder") for name, number in _SIZES.items()}
    return tiny_whisper.build(
        folder, window_seconds=30, merges=merges, init_std=0.3, d_model=128, max_target_positions=448, **layers
    )


@pytest.fixture(scope="module")
def settings(model: Path) -> HearingSettings:
    tokenizer = WhisperTokenizerFast.from_pretrained(model)
    tokens = ["<|startoftranscript|>", "<|it|>", "<|transcribe|>", "<|notimestamps|>"]
    prompt = tokenizer.convert_tokens_to_ids(tokens)
    return HearingSettings(tuple(prompt), frozenset((tokenizer.eos_token_id,)), 24)


@pytest.fixture(scope="module")
def export(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("export")
    ENGINE.convert(model, target, "float16")
    return target


def heard(target: Path, settings: HearingSettings) -> Sequence[Transcript]:
    hear = ENGINE.open(target, settings, 1)
    return [hear(tones.tone(place, SECONDS), SECONDS) for place in range(3)]


def hear_with(engine: EngineProcess, target: Path, settings: HearingSettings) -> Transcript:
    engine.open(target, settings)
    return engine.hear(tones.tone(0, SECONDS), SECONDS)


def test_the_vocabulary_is_whispers_in_its_order(export: Path, settings: HearingSettings, model: Path) -> None:
    context = _pywhispercpp.whisper_init_from_file_with_params(
        str(export / "ggml-model.bin"), _pywhispercpp.whisper_context_default_params()
    )
    tokenizer = WhisperTokenizerFast.from_pretrained(model)
    assert _pywhispercpp.whisper_n_vocab(context) == len(tokenizer)
    start, language, task, silent = settings.prompt_ids
    found = (
        _pywhispercpp.whisper_token_sot(context),
        _pywhispercpp.whisper_token_transcribe(context),
        _pywhispercpp.whisper_token_not(context),
    )
    assert found == (start, task, silent)
    assert {_pywhispercpp.whisper_token_eot(context)} == settings.end_ids
    assert language in {_pywhispercpp.whisper_token_lang(context, number) for number in range(99)}
    for token in (0, 255, 256, TEXT_TOKENS - 1):
        text = tokenizer.convert_ids_to_tokens(token)
        as_byte = {character: byte for byte, character in bytes_to_unicode().items()}
        assert _pywhispercpp.whisper_token_to_bytes(context, token) == bytes(as_byte[each] for each in text)


def test_the_engine_hears_different_tones_differently_and_alike_each_time(
    export: Path, settings: HearingSettings
) -> None:
    first = heard(export, settings)
    assert len({transcript.text for transcript in first}) > 1
    assert heard(export, settings) == first


def test_other_mel_filters_are_heard(export: Path, settings: HearingSettings, tmp_path: Path) -> None:
    content = bytearray((export / "ggml-model.bin").read_bytes())
    mels, bins = struct.unpack_from("<2i", content, FILTERS)
    filters = np.frombuffer(content, "<f4", mels * bins, FILTERS + 8).reshape(mels, bins)
    content[FILTERS + 8 : FILTERS + 8 + filters.nbytes] = np.roll(filters, 5, axis=0).tobytes()
    (tmp_path / "ggml-model.bin").write_bytes(content)
    assert heard(tmp_path, settings) != heard(export, settings)


def test_a_vocabulary_whose_rows_moved_is_heard(
    export: Path, settings: HearingSettings, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ggml_file._text_tokens(model)
    monkeypatch.setattr(ggml_file, "_text_tokens", lambda _: [tokens[-1], *tokens[:-1]])
    ENGINE.convert(model, tmp_path, "float16")
    assert heard(tmp_path, settings) != heard(export, settings)


def test_a_file_that_was_cut_ends_its_process_and_no_other(
    export: Path, settings: HearingSettings, tmp_path: Path
) -> None:
    whole = (export / "ggml-model.bin").read_bytes()
    (tmp_path / "ggml-model.bin").write_bytes(whole[: len(whole) // 2])
    with EngineProcess(KINDS["WhisperCpp"]) as engine, pytest.raises(EngineError, match="its engine died"):
        hear_with(engine, tmp_path, settings)


def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    model = tiny_whisper.build(tmp_path / "model")
    with pytest.raises(ValueError, match="knows vocabularies of 51864, 51865, 51866 tokens, and this model has"):
        ENGINE.convert(model, tmp_path, "float16")


def test_blocks_of_five_bits_are_ggmls_own_byte_by_byte() -> None:
    """By the quantization of the library in the wheel."""
    values = np.random.default_rng(0).normal(0, 1, (64, 96)).astype(np.float32)
    values[3] = 0.0
    values[4] *= 1e-6
    library = ctypes.CDLL(str(Path(_pywhispercpp.__file__).with_name("libggml-base.so")))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    theirs = ctypes.create_string_buffer(values.size // 32 * BLOCK_BYTES)
    rows, columns = values.shape
    library.ggml_quantize_chunk(Q5_0, values.ctypes.data, theirs, 0, rows, columns, None)
    assert ggml_file.quantize_to_q5_0(values) == theirs.raw


def test_a_file_of_five_bits_is_smaller_and_hears(
    export: Path, model: Path, settings: HearingSettings, tmp_path: Path
) -> None:
    ENGINE.convert(model, tmp_path, "q5_0")
    smaller, whole = ((folder / "ggml-model.bin").stat().st_size for folder in (tmp_path, export))
    assert smaller < 0.5 * whole
    assert all(transcript.text for transcript in heard(tmp_path, settings))
