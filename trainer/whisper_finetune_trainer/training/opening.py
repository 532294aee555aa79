"""What a training is made of, once it is opened: the commits of the Hub, the model, the clips and the backend.

Every attempt reads the commits of the first one, whatever is pushed meanwhile. Otherwise a later attempt could train
another model than the one whose baseline was measured, or begin anew on other clips.
"""

import importlib
import logging
from dataclasses import replace
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from whisper_finetune_api import addresses
from whisper_finetune_api.run import HubCommits, TrainerConfig
from whisper_finetune_api.v1alpha1 import EvaluationSet, WhisperFineTuneSpec
from whisper_finetune_trainer.checkpoints import training_state
from whisper_finetune_trainer.data import dataset, evaluation_sets, text_rules
from whisper_finetune_trainer.data.audio.audio_locator import ExtractedAudio
from whisper_finetune_trainer.data.clips import digest_of_clips
from whisper_finetune_trainer.data.evaluation_sets import EvaluationClips
from whisper_finetune_trainer.data.layouts.layout import StreamLimits
from whisper_finetune_trainer.data.run_clips import Clips
from whisper_finetune_trainer.evaluation import wer
from whisper_finetune_trainer.exports import engines
from whisper_finetune_trainer.ipu import environment
from whisper_finetune_trainer.machine import pod_limits
from whisper_finetune_trainer.machine.scratch_space import ScratchShares
from whisper_finetune_trainer.machine.stopping import StopRequest
from whisper_finetune_trainer.model import clip_fitting, model, model_source
from whisper_finetune_trainer.model.backend import Backend, BackendSettings, plan_training
from whisper_finetune_trainer.model.model import LoadedModel
from whisper_finetune_trainer.model.model_card import DescribedRun
from whisper_finetune_trainer.output import record, run_identity
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import RunFolder
from whisper_finetune_trainer.progress.progress import Reporter

_FILE = "hub-commits.json"
_EVALUATIONS_FILE = "hub-commits-of-evaluations.json"
logger = logging.getLogger(__name__)


class OpenedTraining(NamedTuple):
    """The parts of a training. `run` has the commits and the schedule that are really used.

    `made_from` is the digest of all that decides the result.
    """

    run: DescribedRun
    #: How many IPUs, GPUs or CPUs it uses.
    devices: int
    loaded: LoadedModel
    clips: Clips
    further: Tuple[EvaluationClips, ...]
    backend: Backend
    made_from: str


class OpenedClips(NamedTuple):
    """The clips of a run, and the model that they fit into."""

    commits: HubCommits
    loaded: LoadedModel
    clips: Clips
    shares: ScratchShares


def open_clips(config: TrainerConfig, folder: RunFolder, limits: StreamLimits) -> OpenedClips:
    """Return the clips of a run and the model that it starts from. Raises TrainerError. Network faults pass through."""
    spec = config.spec
    commits = commits_of_run(spec, folder)
    loaded = model.load_model(spec, commits.model, config.volumes, config.scratch_folder)
    # After the model is loaded: its size decides how much scratch space is left for sounds. Its download is gone then.
    shares = _scratch_shares(config, folder, loaded)
    clips = _load_clips(config, commits, shares.sounds_bytes, loaded, limits)
    return OpenedClips(commits, loaded, clips, shares)


def open_training(
    config: TrainerConfig, folder: RunFolder, reporter: Reporter, stop: StopRequest, limits: StreamLimits
) -> OpenedTraining:
    """Return what a training is made of, and tell the reporter of it.

    Raises TrainerError, whose message says what to mend. Network faults pass through.
    """
    spec = config.spec
    engines.require_engines(spec.output.exports or ())
    commits, loaded, clips, shares = open_clips(config, folder, limits)
    further = _load_further(config, folder, shares.sounds_bytes - clips.scratch_bytes, loaded, clips, limits)
    clips = replace(clips, warnings=(*clips.warnings, *(said for each in further for said in each.warnings)))
    unused_bytes = shares.sounds_bytes - clips.scratch_bytes - sum(each.scratch_bytes for each in further)
    plan = plan_training(spec, config.accelerator, config.ipus, loaded.dimensions)
    settings = BackendSettings(
        accelerator=config.accelerator,
        training=spec.training,
        schedule=plan.schedule,
        ipu_plan=plan.ipu,
        scratch_folder=config.scratch_folder,
        encoder_outputs_bytes=shares.encoder_outputs_bytes + unused_bytes,
        ipu_wait_seconds=config.ipu_wait_seconds,
        cpus=pod_limits.available_cpus(),
        memory_bytes=pod_limits.available_memory(),
    )
    made_from = _made_from(spec, loaded, clips, further)
    backend = open_backend(settings, loaded, clips, stop.check, on_read=lambda: reporter.tell(data=clips.summary()))
    identity = config.namespace, config.name, config.uid
    run = DescribedRun(*identity, spec, config.accelerator, plan.schedule, commits)
    metric = wer.metric(loaded.text_language_code, loaded.spellings, loaded.task)
    reporter.tell(data=clips.summary(), metric=metric, ran_on=backend.ran_on)
    return OpenedTraining(run, settings.devices, loaded, clips, further, backend, made_from)


def _made_from(spec: WhisperFineTuneSpec, loaded: LoadedModel, clips: Clips, further: Sequence[EvaluationClips]) -> str:
    measured = (clips.evaluation, clips.validation, *(each.clips for each in further))
    data = [clips.train.digest, *map(digest_of_clips, measured)]
    # Before a backend has moved the weights or changed their precision.
    return run_identity.made_from_digest(spec, data, model.digest_weights(loaded.network))


def _load_clips(
    config: TrainerConfig, commits: HubCommits, extracted_bytes: int, loaded: LoadedModel, limits: StreamLimits
) -> Clips:
    spec = config.spec
    source = dataset.open_source(spec.dataset, spec.language, config.volumes, commits)
    extracted = ExtractedAudio(config.scratch_folder, extracted_bytes)
    found = dataset.load_clips(spec, source, extracted, limits, text_rules.words_like_tokens(loaded.tokenizer))
    clips = clip_fitting.fit_clips(found, loaded, config.accelerator, spec.training)
    dropped = ", ".join(f"{number} {reason}" for reason, number in clips.all_dropped().items())
    logger.info(
        "%s, %d held out%s%s",
        clips.train.size_in_words(),
        len(clips.evaluation),
        f", {len(clips.validation)} to choose the best model by" if clips.validation else "",
        f"; left out: {dropped}" if dropped else "",
    )
    if clips.packed is not None:
        logger.info("%s", clips.packing_in_words())
    return clips


def _load_further(
    config: TrainerConfig, folder: RunFolder, free_bytes: int, loaded: LoadedModel, clips: Clips, limits: StreamLimits
) -> Tuple[EvaluationClips, ...]:
    """Return the clips of `spec.evaluations`. Raises TrainerError where one cannot be measured."""
    spec = config.spec
    commits = _commits_of_evaluations(spec, folder)
    words = text_rules.words_like_tokens(loaded.tokenizer)
    learned = [*clips.train.known, *clips.validation]
    further: List[EvaluationClips] = []
    for wanted in spec.evaluations or ():
        extracted = ExtractedAudio(config.scratch_folder, free_bytes - sum(each.scratch_bytes for each in further))
        found = evaluation_sets.load_evaluation(
            spec, wanted, config.volumes, commits[_address_of(wanted)], extracted, limits, words
        )
        with evaluation_sets.evaluation_named(wanted.name):
            heard = clip_fitting.fit_heard(
                found.clips, model.hearing(loaded, found.spec), spec.dataset.max_dropped_fraction
            )
        found = replace(found, clips=heard)
        evaluation_sets.require_enough(found)
        further.append(evaluation_sets.count_copies(found, learned))
        logger.info("evaluation %s: %d clips", found.name, len(found.clips))
    return tuple(further)


def _scratch_shares(config: TrainerConfig, folder: RunFolder, loaded: LoadedModel) -> ScratchShares:
    state_bytes = training_state.largest_state_bytes(loaded.network)
    # On IPUs the resumed state is written once more, in the library's own form.
    resumed_bytes = state_bytes if config.accelerator == "ipu" else 0
    return folder.divide_scratch(state_bytes, resumed_bytes, config.scratch_limit_bytes)


class _Record(Record):
    """The content of the file in the run's folder."""

    uid: str
    commits: HubCommits


def commits_of_run(spec: WhisperFineTuneSpec, folder: RunFolder) -> HubCommits:
    """Return the run's commits: the recorded ones, else the newest, which are then recorded.

    Raises ModelNotFound, DatasetNotFound or AccessDenied. Network faults pass through.
    """
    known = _recorded(folder)
    commits = known or _newest(spec)
    if commits == HubCommits():
        return commits
    logger.info("commits of the Hub%s: %s", ", which this run began with" if known else "", commits.in_words())
    if known is None and folder.outlives_the_pod:
        folder.write_json(_FILE, _Record(uid=folder.uid, commits=commits).to_json_object())
    return commits


def _recorded(folder: RunFolder) -> Optional[HubCommits]:
    found = record.read_record(_Record, folder.read_json(_FILE))
    return found.commits if found and found.uid == folder.uid else None


class _EvaluationsRecord(Record):
    """The commits of the data sets of `spec.evaluations`, by their addresses with their revisions."""

    uid: str
    commits: Dict[str, HubCommits]


def _commits_of_evaluations(spec: WhisperFineTuneSpec, folder: RunFolder) -> Dict[str, HubCommits]:
    """Return the commits of each evaluation: the recorded ones, else the newest, which are then recorded."""
    if not spec.evaluations:
        return {}
    found = record.read_record(_EvaluationsRecord, folder.read_json(_EVALUATIONS_FILE))
    known = found.commits if found and found.uid == folder.uid else {}
    commits = {_address_of(each): known.get(_address_of(each)) or _newest_of(spec, each) for each in spec.evaluations}
    if folder.outlives_the_pod and commits != known and any(each != HubCommits() for each in commits.values()):
        folder.write_json(_EVALUATIONS_FILE, _EvaluationsRecord(uid=folder.uid, commits=commits).to_json_object())
    return commits


def _address_of(wanted: EvaluationSet) -> str:
    return f"{wanted.source}@{wanted.revision or ''}"


def _newest_of(spec: WhisperFineTuneSpec, wanted: EvaluationSet) -> HubCommits:
    with evaluation_sets.evaluation_named(wanted.name):
        return dataset.newest_commits(evaluation_sets.spec_of_evaluation(spec, wanted).dataset)


def _newest(spec: WhisperFineTuneSpec) -> HubCommits:
    commits = dataset.newest_commits(spec.dataset)
    if addresses.parse_address(spec.model) is not None:
        return commits
    return commits.model_copy(update={"model": model_source.newest_model_commit(spec.model, spec.model_revision)})


def open_backend(
    settings: BackendSettings,
    loaded: LoadedModel,
    clips: Clips,
    check_stop: Callable[[], None] = lambda: None,
    on_read: Callable[[], None] = lambda: None,
) -> Backend:
    """Return the backend of an accelerator. Raises AcceleratorUnavailable where the hardware is missing.

    `check_stop` is called while a clip to train on is waited for, and raises where the training is to end. `on_read` is
    called when more of a stream has been read.
    """
    if settings.accelerator == "ipu":
        environment.require_poptorch()
        module = importlib.import_module("whisper_finetune_trainer.ipu.backend")
        ipu_backend: Backend = module.IpuBackend(settings, loaded, clips, check_stop, on_read)
        return ipu_backend
    module = importlib.import_module("whisper_finetune_trainer.pytorch.backend")
    backend: Backend = module.TorchBackend(settings, loaded, clips, check_stop, on_read)
    return backend
