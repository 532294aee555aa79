"""What an error of an object store means: credentials refused, no rights, missing, full, or only temporary. Pure.

No image has all the stores' libraries. So no library is imported, and their errors are recognized by codes and names.
"""

import ssl
from typing import Any, Dict, FrozenSet, Iterator, Literal, Optional, Tuple

Fault = Literal["credentials", "rights", "missing", "full", "certificate"]

#: Classes of botocore, google-auth and azure-core for credentials that are missing or not accepted.
_CREDENTIAL_ERRORS = frozenset(
    (
        "NoCredentialsError",
        "PartialCredentialsError",
        "DefaultCredentialsError",
        "RefreshError",
        "ClientAuthenticationError",
        "LocalTokenNotFoundError",
    )
)
_CODES: Dict[Fault, FrozenSet[str]] = {
    "credentials": frozenset(
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "TokenRefreshRequired",
            "InvalidSecurity",
            "RequestTimeTooSkewed",
            "AuthenticationFailed",
            "InvalidAuthenticationInfo",
            "401",
        )
    ),
    "rights": frozenset(
        (
            "AccessDenied",
            "AllAccessDisabled",
            "AccountProblem",
            "AuthorizationFailure",
            "AuthorizationPermissionMismatch",
            "InsufficientAccountPermissions",
            "MethodNotAllowed",
            "403",
        )
    ),
    "missing": frozenset(("NoSuchBucket", "NoSuchKey", "ContainerNotFound", "BlobNotFound", "404")),
    "full": frozenset(
        ("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "507")
    ),
}
#: Some libraries do not keep the certificate's error itself. They keep its text.
_CERTIFICATE_WORDS = ("CERTIFICATE_VERIFY_FAILED", "certificate verify failed")
#: What helps where a certificate is refused.
CERTIFICATE_ADVICE = (
    "ask the cluster's admin to put the certificate of its authority into the runtime's caBundle; on a workstation "
    "name a file that has it in AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE and SSL_CERT_FILE"
)
#: A class says less than a code, so the code comes first.
_CLASSES: Tuple[Tuple[type, Fault], ...] = ((FileNotFoundError, "missing"), (PermissionError, "rights"))


def fault_meaning(error: BaseException) -> Optional[Fault]:
    """Return what is wrong until somebody mends it, or None for an error that may be gone at the next try."""
    if is_certificate_fault(error):
        return "certificate"
    if any(type(link).__name__ in _CREDENTIAL_ERRORS for link in _chain(error)):
        return "credentials"
    found = fault_code(error)
    by_code: Optional[Fault] = next((fault for fault, codes in _CODES.items() if found in codes), None)
    if by_code is not None:
        return by_code
    return next((fault for kind, fault in _CLASSES if isinstance(error, kind)), None)


def is_certificate_fault(error: BaseException) -> bool:
    """Return whether a server's certificate is not trusted, for example because its authority is not known here."""
    return any(
        isinstance(link, ssl.SSLCertVerificationError) or any(words in str(link) for words in _CERTIFICATE_WORDS)
        for link in _chain(error)
    )


def fault_code(error: BaseException) -> Optional[str]:
    """Return the store's own code (`NoSuchBucket`), else the status of its answer (`404`), else None."""
    return next((found for link in _chain(error) for found in [_code_of(link)] if found), None)


def _chain(error: Optional[BaseException]) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code_of(error: Any) -> Optional[str]:
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore
        return str(response.get("Error", {}).get("Code") or "") or None
    # azure-core, gcsfs, and the Hub's library
    for holder, name in ((error, "error_code"), (error, "status_code"), (error, "code"), (response, "status_code")):
        value = getattr(holder, name, None)
        # Azure's codes are members of an enumeration. `str` would give the name of the member.
        value = getattr(value, "value", value)
        if isinstance(value, (int, str)) and str(value):
            return str(value)
    return None
