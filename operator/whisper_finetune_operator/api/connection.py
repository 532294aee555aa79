"""The way to the API server: by the pod's service account, or by a kubeconfig.

lightkube reads the credentials. The requests go through aiohttp, which kopf needs anyway. lightkube's own client takes
three and a half times the processor time for each.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import PROXY_CONF, KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

_UNAUTHORIZED = 401


class AccessError(Exception):
    """There is no way to reach the API server. The text is one line for the installer."""


class UnreachableError(Exception):
    """The API server gave no answer: it may be away for a moment."""


class UntrustedError(UnreachableError):
    """Whoever answers may not be the API server: the certificate is not signed by the known authority."""


@dataclass(frozen=True)
class Answer:
    """What the API server said. `body` is an empty object where it said nothing."""

    code: int
    body: dict[str, Any]
    #: How long the server asks to wait before the next request.
    retry_after_seconds: float | None = None


@dataclass(frozen=True)
class Access:
    """Where the API server is, and what it needs to know who asks."""

    server: str
    #: The namespace of the service account, or the kubeconfig's.
    namespace: str
    tls: ssl.SSLContext
    token: str | None
    token_file: Path | None

    def headers(self) -> dict[str, str]:
        """Return the headers that say who asks.

        The token is read from its file each time, where the kubelet renews it.
        """
        token = self.token_file.read_text(encoding="utf-8").strip() if self.token_file else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def find_access(kubeconfig: Path | None) -> Access:
    """Return the access that a kubeconfig names, or else the pod's own, or else KUBECONFIG's."""
    try:
        config = (KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()).get()
        return _access(config or PROXY_CONF)
    except (ConfigError, OSError) as problem:
        raise AccessError(
            f"found no way to reach the API server: {problem}; run in a pod, or give --kubeconfig FILE"
        ) from problem
    except Exception as problem:
        # lightkube checks nothing: a malformed file raises whatever error reading it leads to.
        raise AccessError(
            f"{kubeconfig or 'the kubeconfig'} cannot be read as a kubeconfig: {type(problem).__name__}: {problem}"
        ) from problem


def _access(config: SingleConfig) -> Access:
    user = config.user or User()
    if user.exec or user.auth_provider or user.username:
        raise ConfigError("a kubeconfig with a token, a token file or a client certificate is needed")
    tls = client_adapter.verify_cluster(config.cluster, user, config.abs_file)
    token_file = Path(config.abs_file(user.token_file)) if user.token_file else None
    return Access(config.cluster.server.rstrip("/"), config.namespace, tls, user.token, token_file)


class Connection:
    """A bounded number of connections for requests. Each watch has one of its own beside them."""

    def __init__(self, access: Access, *, connections: int, timeout_seconds: float) -> None:
        self.access = access
        self._who = access.headers()
        connector = aiohttp.TCPConnector(limit=connections, ssl=access.tls)
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self._watches = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=access.tls))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._watches.close()

    async def send(self, method: str, path: str, *, body: object, headers: Mapping[str, str], **query: str) -> Answer:
        """Send one request and return the answer, whatever it is. Raises UnreachableError where there is none."""
        data = None if body is None else _json(body)
        answer = await self._once(method, path, data, headers, query)
        if answer.code == _UNAUTHORIZED and self._has_new_token():
            answer = await self._once(method, path, data, headers, query)
        return answer

    async def lines(
        self, path: str, *, headers: Mapping[str, str], connect_seconds: float, total_seconds: float, **query: str
    ) -> AsyncIterator[Answer | bytes]:
        """Yield the lines of a long answer as they come. Of an answer that is no success, yield the whole instead.

        Raises UnreachableError where there is no connection in `connect_seconds`, or no end in `total_seconds`.
        """
        url, headers = self.access.server + path, {**headers, **self.access.headers()}
        timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=connect_seconds)
        try:
            async with self._watches.get(url, params=query, headers=headers, timeout=timeout) as response:
                if not response.ok:
                    yield await _answer(response)
                    return
                rest = b""
                async for part in response.content.iter_any():
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield line
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise self._unreachable(problem) from problem

    async def _once(
        self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> Answer:
        url, headers = self.access.server + path, {**headers, **self._who}
        try:
            async with self._session.request(method, url, params=query, data=data, headers=headers) as response:
                return await _answer(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            raise self._unreachable(problem) from problem

    def _unreachable(self, problem: Exception) -> UnreachableError:
        kind = UntrustedError if isinstance(problem, aiohttp.ClientConnectorCertificateError) else UnreachableError
        return kind(f"{self.access.server}: {str(problem) or type(problem).__name__}")

    def _has_new_token(self) -> bool:
        known, self._who = self._who, self.access.headers()
        return self._who != known


async def _answer(response: aiohttp.ClientResponse) -> Answer:
    asked = response.headers.get("Retry-After", "")
    # The API server gives seconds. A proxy may give a date, which is not worth reading.
    return Answer(response.status, _object(await response.read()), float(asked) if asked.isdecimal() else None)


def _json(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        # Half a character cannot be sent as it is. The server replaces an escaped one.
        return json.dumps(body).encode()


def _object(content: bytes) -> dict[str, Any]:
    try:
        read = msgspec.json.decode(content)
    except ValueError:
        # A proxy in between answers in its own way, and its code says enough.
        return {"message": content[:200].decode(errors="replace")}
    return read if isinstance(read, dict) else {}
