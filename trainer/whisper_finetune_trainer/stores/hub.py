"""What the errors of the Hugging Face Hub mean for the run."""

import re
from contextlib import contextmanager
from typing import Iterator, Optional

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from whisper_finetune_api.causes import Reason
from whisper_finetune_trainer.messages.errors import TrainerError, words_of
from whisper_finetune_trainer.stores import store_faults

_DENIED = (401, 403)
_COMMIT = re.compile("^[0-9a-f]{40}$")


@contextmanager
def explain_hub_faults(
    field: str, repository: str, revision: Optional[str], *, missing: Reason, page: str
) -> Iterator[None]:
    """Turn the Hub's refusals into TrainerErrors. Other faults pass through.

    The reason is AccessDenied, `missing` for what does not exist, or ConfigInvalid for a certificate that is not
    trusted. `field` is the field of the spec, and `page` the address where a user accepts the licence.
    """
    try:
        with _trusted(field, repository):
            yield
    except GatedRepoError as error:
        raise TrainerError(
            "AccessDenied",
            f"{field}: {repository} is gated; accept its licence on the Hub ({page}) as the user of HF_TOKEN, "
            "and give that token by spec.secretRefs",
        ) from error
    except HFValidationError as error:
        raise TrainerError(missing, f"{field}: {repository} is not a valid id of the Hub: {words_of(error)}") from error
    except RevisionNotFoundError as error:
        raise TrainerError(missing, f"{field}: {repository} has no {_named(revision)}") from error
    except RepositoryNotFoundError as error:
        raise TrainerError(
            missing, f"{field}: the Hub has no {repository}, or it is private and HF_TOKEN gives no access to it"
        ) from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in _DENIED:
            raise TrainerError(
                "AccessDenied",
                f"{field}: the Hub refuses {repository} ({error.response.status_code}); is HF_TOKEN right?",
            ) from error
        raise


@contextmanager
def _trusted(field: str, repository: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not store_faults.is_certificate_fault(error):
            raise
        raise TrainerError(
            "ConfigInvalid",
            f"{field}: cannot read {repository}: the certificate of the Hub is not trusted: {words_of(error)}; "
            f"{store_faults.CERTIFICATE_ADVICE}",
        ) from error


def _named(revision: Optional[str]) -> str:
    if revision is None or not _COMMIT.match(revision):
        return f"revision {revision}"
    # A commit that the run used before is gone: the repository's history was rewritten.
    return (
        f"commit {revision} any more, and a run reads the commit that it began with; apply it again under another name"
    )
