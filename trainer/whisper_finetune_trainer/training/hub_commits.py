"""The commits of the Hub that a run reads. Every attempt reads those of the first one, whatever is pushed meanwhile.

Otherwise a later attempt could train another model than the one whose baseline was measured, or begin anew on other
clips.
"""

import logging
from typing import Optional

from whisper_finetune_api import addresses
from whisper_finetune_api.run import HubCommits
from whisper_finetune_api.v1alpha1 import WhisperFineTuneSpec
from whisper_finetune_trainer.data import dataset
from whisper_finetune_trainer.model import model_source
from whisper_finetune_trainer.output import record
from whisper_finetune_trainer.output.record import Record
from whisper_finetune_trainer.output.run_folder import RunFolder

_FILE = "hub-commits.json"
logger = logging.getLogger(__name__)


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


def _newest(spec: WhisperFineTuneSpec) -> HubCommits:
    commits = dataset.newest_commits(spec.dataset)
    if addresses.parse_address(spec.model) is not None:
        return commits
    return commits.model_copy(update={"model": model_source.newest_model_commit(spec.model, spec.model_revision)})
