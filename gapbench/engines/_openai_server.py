"""One server of the OpenAI protocol: calls that are tried again where that may help, and words for why they failed.

The library's own retries are switched off: it does not try again where a body is cut off or stalls half way, or where a
server asks for more than two minutes of patience, and a call that is tried at two levels cannot be counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from base64 import b64encode
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import openai

from gapbench.engines._openai_replies import BadReply, read_choices
from gapbench.errors import EngineFailure, UserError

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
_NO_KEY = "EMPTY"  # what vLLM's documentation has clients send
_PASSING = frozenset({408, 409, 425, 429})  # and all of 500 and above
_UNPAID = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_FIRST_WAIT, _LONGEST_WAIT, _LONGEST_ASKED = 0.5, 30.0, 600.0
_ALIVE_SECONDS = 30.0


class Refused(Exception):
    """The server will not do this, whatever the number of tries.

    Attributes
    ----------
    status
        HTTP status.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Exhausted(Exception):
    """A call failed, and so did its last retry.

    Attributes
    ----------
    silent
        Whether the server gave no answer at all.
    """

    def __init__(self, reason: str, silent: bool) -> None:
        super().__init__(reason)
        self.silent = silent


class Server:
    """Where calls go.

    Parameters
    ----------
    base_url
        Address up to and including `/v1`; by default OPENAI_BASE_URL, or OpenAI's own. User and password, or a query,
        may stand only in the variable: options are kept with a run.
    key_env
        Environment variable that holds the key; by default OPENAI_API_KEY, if it is set.
    concurrency
        Calls at once.
    timeout
        Seconds that one try of a call may take in all.
    max_retries
        Tries of a call after the first.

    Attributes
    ----------
    url
        The address without anything secret.

    Raises
    ------
    UserError
        If the address is none or holds a secret, or the variable is not set.
    """

    def __init__(
        self, base_url: str | None, key_env: str | None, concurrency: int, timeout: float, max_retries: int
    ) -> None:
        key = os.environ.get(key_env or KEY_VARIABLE, "").strip()
        if key_env and not key:
            raise UserError(
                f"--engine-option key_env={key_env}: there is no such environment variable; set it"
            )
        self._variable, self._has_key = key_env or KEY_VARIABLE, bool(key)
        if not key.isascii() or not key.isprintable():
            raise UserError(f"{self._variable} holds characters that no key has; set it anew")
        address = base_url or os.environ.get(URL_VARIABLE) or "https://api.openai.com/v1"
        self.url, user, query = _split(address, given=base_url is not None)
        self._secrets = sorted({key, *user, *query.values()} - {""}, key=len, reverse=True)
        if query:  # the transport logs whole addresses
            logging.getLogger("httpx2").addFilter(self._scrub_record)
        self._client = openai.AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=self.url,
            timeout=timeout,
            max_retries=0,
            default_headers=_basic(*user) if user else None,
            default_query=query or None,
        )
        self._places = asyncio.Semaphore(concurrency)
        self._timeout, self._max_retries = timeout, max_retries

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call, and call again where that may help.

        Raises
        ------
        Refused
            If no retry can mend it.
        Exhausted
            If the last retry failed too.
        """
        return await self._call("post", path, body, self._timeout, self._max_retries)

    async def models(self) -> list[dict[str, Any]]:
        """What the server says of its models; nothing where it does not say.

        Raises
        ------
        UserError
            If it refuses the key, or does not answer.
        """
        try:
            reply = await self._call("get", "/models", None, _ALIVE_SECONDS, min(2, self._max_retries))
        except Refused as refusal:
            if refusal.status in (401, 403):
                self.refuse(refusal)
            return []
        except Exhausted as failure:
            if failure.silent:
                raise UserError(
                    f"no server answers at {self.url} ({failure}); start it, or name another with "
                    f"--engine-option base_url=URL or {URL_VARIABLE}"
                ) from None
            return []
        listed = reply.get("data")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    async def check_alive(self, reason: str) -> None:
        """Ask for something cheap.

        Raises
        ------
        EngineFailure
            If there is no answer of any kind.
        """
        try:
            await self._call("get", "/models", None, min(_ALIVE_SECONDS, self._timeout), 0)
        except Refused:
            return
        except Exhausted as failure:
            if failure.silent:
                self.give_up(reason)

    def give_up(self, reason: str) -> NoReturn:
        """Stop a run that the server no longer serves.

        Raises
        ------
        EngineFailure
            Always.
        """
        raise EngineFailure(
            f"the server {self.url} gives no answers any more ({reason}); every finished row is kept: see to the server and "
            "go on with the same command and --resume"
        ) from None

    def refuse(self, refusal: Refused, hint: str = "") -> NoReturn:
        """Say what the server refuses to every request.

        Raises
        ------
        UserError
            Always.
        """
        if refusal.status in (401, 403):
            # A server's own words on keys may quote the key.
            fault = "refuses the key in" if self._has_key else "asks for a key, which would be in"
            raise UserError(
                f"the server {self.url} {fault} {self._variable} (HTTP {refusal.status}); set that variable to a key that it takes"
            ) from None
        raise UserError(f"the server {self.url} refuses: {refusal}{hint}") from None

    def scrub(self, text: str) -> str:
        """Take every secret out of a text and bring it on one line."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
        logging.getLogger("httpx2").removeFilter(self._scrub_record)

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float, retries: int
    ) -> dict[str, Any]:
        async with (
            self._places
        ):  # kept while waiting for the next try: fewer calls reach a server that is in trouble
            for attempt in range(retries + 1):
                try:
                    async with asyncio.timeout(timeout):
                        # As text, in which bytes that are no UTF-8 have become U+FFFD.
                        raw = (
                            await self._client.get(path, cast_to=str)
                            if body is None
                            else await self._client.post(path, cast_to=str, body=body)
                        )
                    reply = _parsed(raw)
                    if body is not None:
                        read_choices(reply)
                    return reply
                except openai.APIStatusError as failure:
                    reason = self._told(failure)
                    if not self._passes(failure):
                        raise Refused(failure.status_code, reason) from None
                    silent, wait = False, _asked(failure)
                except (openai.APITimeoutError, TimeoutError):
                    reason, silent, wait = f"no whole reply within {timeout:g} s", True, None
                except openai.APIConnectionError as failure:
                    reason, silent, wait = self.scrub(_root(failure)), True, None
                except BadReply as failure:
                    reason, silent, wait = str(failure), False, None
                if attempt < retries:
                    # After doubling waits with full spread, so that calls that failed at once do not come back at once.
                    backoff = min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1.0)
                    await asyncio.sleep(backoff if wait is None else wait + random.uniform(0.0, _FIRST_WAIT))
        raise Exhausted(reason, silent)

    def _scrub_record(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.scrub(record.getMessage()), ()
        return True

    def _told(self, failure: openai.APIStatusError) -> str:
        body = failure.body
        message = body.get("message") if isinstance(body, dict) else body
        text = self.scrub(message if isinstance(message, str) else "")[:300]
        return f"HTTP {failure.status_code}" + (f", {text}" if text else "")

    def _passes(self, failure: openai.APIStatusError) -> bool:
        """Whether another try may help."""
        if failure.code in _UNPAID or failure.type in _UNPAID:
            return False
        return failure.status_code in _PASSING or failure.status_code >= 500


def _parsed(raw: str) -> dict[str, Any]:
    try:
        reply = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadReply("a reply that is no whole JSON document") from None
    if not isinstance(reply, dict):
        raise BadReply("a reply that is no JSON object")
    if "error" in reply and not reply.get("choices"):  # some proxies report failures with status 200
        raise BadReply("an error in place of a reply")
    return reply


def _asked(failure: openai.APIStatusError) -> float | None:
    """Seconds that the server asks to wait; None where it does not say."""
    headers = failure.response.headers
    try:
        if told := headers.get("retry-after-ms"):
            seconds = float(told) / 1000
        elif told := headers.get("retry-after"):
            seconds = (
                float(told)
                if told.strip()[:1].isdigit()
                else parsedate_to_datetime(told).timestamp() - time()
            )
        else:
            return None
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_ASKED)


def _root(failure: BaseException) -> str:
    """The words of what a failure came from first."""
    while failure.__cause__ or failure.__context__:
        failure = failure.__cause__ or failure.__context__  # type: ignore[assignment]
    return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__


def _split(address: str, given: bool) -> tuple[str, tuple[str, ...], dict[str, str]]:
    """An address without its secrets; user and password; and the query."""
    where = "--engine-option base_url" if given else URL_VARIABLE
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise UserError(f"{where}: not an address; it looks like http://localhost:8000/v1")
    pair = parts.username, parts.password
    user = tuple(unquote(one or "") for one in pair) if any(pair) else ()
    place = f"[{host}]" if ":" in host else host
    netloc = place if port is None else f"{place}:{port}"
    return (
        urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", "")),
        user,
        dict(parse_qsl(parts.query)),
    )


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
