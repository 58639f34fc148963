"""A small client of the API, for the command line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer

from questline.cli.dev_file import read_dev_file
from questline.settings import load

_SECONDS_MAX = 120.0
_TRIES_MAX = 10  # of a request that the server wants later
_WAIT_SECONDS_MAX = 60

Url = Annotated[str | None, typer.Option(help="The API. Default: that of .questline/dev.json.")]
Key = Annotated[str | None, typer.Option(help="A secret key of role ADMIN. Default: that of .questline/dev.json.")]
Token = Annotated[str | None, typer.Option(help="The operator's token, in the place of a key.")]


class ClientError(Exception):
    """The API refused, or cannot be reached; `problem` is its document where there is one."""

    def __init__(self, message: str, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = problem or {}

    @property
    def code(self) -> str:
        return str(self.problem.get("code", ""))


class Client:
    """Requests with a key, or with the operator's token."""

    def __init__(self, url: str, key: str, header: str = "X-API-Key") -> None:
        self.url = url
        self.key = key
        self._http = httpx.Client(base_url=url, headers={header: key}, timeout=_SECONDS_MAX, trust_env=False)

    @classmethod
    def of(cls, url: str | None, key: str | None, token: str | None = None) -> "Client":
        """Return a client for what was given, filled up from dev.json; raises ClientError."""
        path = load().data_dir / "dev.json"
        file = read_dev_file(path)
        if file is not None:
            url = url or file.url
            key = key or (file.secret_key if url == file.url else None)
        for name, given in (("--key", key), ("--token", token)):
            if given is not None and not given.isascii():
                raise ClientError(f"{name} is none: it holds {next(c for c in given if not c.isascii())!r}")
        if url is not None and token is not None:
            return cls(url, token, "X-Admin-Token")
        if url is None or key is None:
            raise ClientError(f"say --url and --key, or run this beside the {path} of a questline dev")
        return cls(url, key)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request and return a good answer; raises ClientError. Where the server says so, it is sent again later."""
        for tries in range(1, _TRIES_MAX + 1):
            try:
                answer = self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                raise ClientError(f"{self.url} cannot be reached: {error}") from error
            wait = answer.headers.get("retry-after", "")
            if answer.status_code not in (429, 503) or not wait.isdigit() or tries == _TRIES_MAX:
                break
            time.sleep(min(int(wait), _WAIT_SECONDS_MAX))
        _check(answer)
        return answer

    @contextmanager
    def lines(self, path: str, parameters: dict[str, Any]) -> Iterator[Iterator[str]]:
        """Yield the lines of an answer as they come, however many they are; raises ClientError."""
        try:
            with self._http.stream("GET", path, params=parameters) as answer:
                if answer.status_code >= 400:
                    answer.read()
                _check(answer)
                yield answer.iter_lines()
        except httpx.HTTPError as error:
            raise ClientError(f"{self.url} cannot be reached: {error}") from error


def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": answer.text[:300]}
    raise ClientError(f"{answer.status_code}: {problem.get('detail', '')}", problem)
