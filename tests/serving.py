"""Servers of the OpenAI protocol for tests: one of our own that misbehaves on demand, and a real one."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from pathlib import Path
from typing import Any

MODEL = "toy-1"
REPORTED = "toy-1-2026-01-01"


@dataclass
class Call:
    """One request as the server saw it; `tries` counts those with the same body, this one included."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]
    tries: int

    @property
    def prompt(self) -> str:
        """The last user turn."""
        if "messages" in self.body:
            return str(self.body["messages"][-1]["content"])
        return str(self.body["prompt"]).rpartition("Q: ")[2].removesuffix("\nA:")

    @property
    def probe(self) -> bool:
        """Whether it is a question that the engine asks of its own accord."""
        return self.prompt in ("Count: one, two,", "1 + 1?")


def text_of(prompt: str, seed: object, index: int) -> str:
    """What the toy model says: its own for every prompt, seed and place."""
    return hashlib.sha256(f"{prompt}|{seed}|{index}".encode()).hexdigest()[:8]


@dataclass
class ToyServer:
    """A toy model behind real sockets.

    Attributes
    ----------
    trouble
        Says for a call what goes wrong: a status, a code of no credit (`insufficient_quota`), or `stall`, `stall-body`,
        `truncate`, `reset`, `empty`; None for nothing.
    change
        Alters a good reply before it is sent.
    refuse
        Says why a body is refused (HTTP 400), or None.
    key
        The key it asks for.
    """

    trouble: Callable[[Call], int | str | None] = lambda call: None
    change: Callable[[Call, dict[str, Any]], Any] = lambda call, reply: reply
    refuse: Callable[[Call], str | None] = lambda call: None
    key: str | None = None
    apis: tuple[str, ...] = ("chat", "completions")
    most: int = 128
    logprobs: bool = True
    delay: float = 0.0
    retry_after: str | None = None
    top: tuple[tuple[str, float], ...] = (("Yes", 0.5), (" yes", 0.2), ("No", 0.1), ("The", 0.05))
    calls: list[Call] = field(default_factory=list)
    busiest: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._tries: Counter[str] = Counter()
        self._busy = 0
        self._ended = threading.Event()
        toy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                toy._take(self, None)

            def do_POST(self) -> None:
                toy._take(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                pass  # a caller that hangs up is meant

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ToyServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Refuse connections from now on."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def real(self) -> list[Call]:
        """Calls that are not the engine's own probes."""
        return [call for call in self.calls if not call.probe]

    def _take(self, handler: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> None:
        path = handler.path.partition("?")[0].removeprefix("/v1")
        with self._lock:
            told = {name.lower(): value for name, value in handler.headers.items()}
            self.headers.append({"path": handler.path, **told})
            self._tries[path + json.dumps(body)] += 1
            call = Call(path, body or {}, handler.headers, self._tries[path + json.dumps(body)])
            if body is not None:
                self.calls.append(call)
                self._busy += 1
                self.busiest = max(self.busiest, self._busy)
        try:
            if self._ended.is_set():
                handler.connection.close()
                return
            self._respond(handler, call, body)
        finally:
            handler.close_connection = handler.close_connection or self._ended.is_set()
            if body is not None:
                with self._lock:
                    self._busy -= 1

    def _respond(self, handler: BaseHTTPRequestHandler, call: Call, body: dict[str, Any] | None) -> None:
        if self.key is not None and handler.headers["Authorization"] != f"Bearer {self.key}":
            said = handler.headers["Authorization"]
            return self._send(handler, {"error": {"message": f"Incorrect API key provided: {said}"}}, 401)
        if body is None:
            models = [{"id": MODEL, "max_model_len": 512}, {"id": "other"}]
            return self._send(handler, {"object": "list", "data": models})
        if call.path not in [{"chat": "/chat/completions"}.get(api, "/" + api) for api in self.apis]:
            return self._send(handler, {"error": {"message": "no such path"}}, 404)
        if body["model"] != MODEL:
            return self._send(
                handler, {"error": {"message": f"The model `{body['model']}` does not exist"}}, 404
            )
        if (why := self.refuse(call)) is not None:
            return self._send(handler, {"error": {"message": why, "code": 400}}, 400)
        trouble = self.trouble(call)
        if isinstance(trouble, int):
            return self._send(handler, {"error": {"message": f"trouble {trouble}"}}, trouble)
        if trouble == "insufficient_quota":
            return self._send(handler, {"error": {"message": "you owe us", "code": trouble}}, 429)
        if self.delay:
            time.sleep(self.delay)
        payload = json.dumps(self.change(call, self.reply(call)), ensure_ascii=False).encode(
            "utf-8", "surrogateescape"
        )
        if trouble == "reset":
            linger = b"\x01\0\0\0\0\0\0\0"  # no orderly end
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
            handler.close_connection = True
            return None
        if trouble == "stall":
            self._ended.wait(5)
            handler.close_connection = True
            return None
        if trouble == "empty":
            payload = b'{"choices": []}'
        if trouble == "truncate":
            payload = payload[: len(payload) // 2]
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        if trouble == "stall-body":
            handler.wfile.write(payload[:20])
            handler.wfile.flush()
            self._ended.wait(5)
            handler.close_connection = True
            return None
        handler.wfile.write(payload)
        return None

    def _send(self, handler: BaseHTTPRequestHandler, reply: Any, status: int = 200) -> None:
        payload = json.dumps(reply).encode()
        handler.send_response(status)
        if status == 429 and self.retry_after is not None:
            handler.send_header("Retry-After", self.retry_after)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)

    def reply(self, call: Call) -> dict[str, Any]:
        """A good reply: three tokens of the text, of which the last ends it."""
        body, chat = call.body, "messages" in call.body
        choices = []
        for index in range(min(body.get("n", 1), self.most)):
            text = text_of(call.prompt, body.get("seed"), index)
            tokens = [text[:4], text[4:], ""]
            choice: dict[str, Any] = {"index": index, "finish_reason": "stop", "logprobs": None}
            choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            if self.logprobs and body.get("logprobs"):
                choice["logprobs"] = self._logprobs(tokens, chat)
            choices.append(choice)
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 3 * len(choices),
            "prompt_tokens_details": {"cached_tokens": 4},
        }
        return {"id": "x", "model": REPORTED, "choices": choices, "usage": usage}

    def _logprobs(self, tokens: list[str], chat: bool) -> dict[str, Any]:
        top = [{"token": token, "logprob": log(p)} for token, p in self.top]
        if chat:
            listed = [{"token": token, "logprob": -0.5, "top_logprobs": []} for token in tokens]
            listed[0]["top_logprobs"] = top
            return {"content": listed}
        columns = {one["token"]: one["logprob"] for one in top}
        return {
            "tokens": tokens,
            "token_logprobs": [-0.5] * len(tokens),
            "top_logprobs": [columns, *({} for _ in tokens[1:])],
        }


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def real_server(python: Path, model: str, log: Path, *words: str, patience: float = 420) -> Iterator[str]:
    """Start vLLM's own server with another environment's Python, and yield its address once it answers.

    Raises
    ------
    RuntimeError
        If it ends or does not answer in time; the end of its log is told.
    """
    port = free_port()
    command = [
        str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--host", "127.0.0.1",
        "--port", str(port), *words,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    environment.pop("PYTHONPATH", None)
    with log.open("wb") as sink:
        # A session of its own: its engine is a process of its own, and must not outlive the test.
        server = subprocess.Popen(
            command, env=environment, stdout=sink, stderr=sink, start_new_session=True, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + patience
        while True:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        _end_session(server)


def _end_session(server: subprocess.Popen[bytes]) -> None:
    for signal, patience in ((15, 30), (9, 10)):
        try:
            os.killpg(server.pid, signal)
        except ProcessLookupError:
            return
        try:
            server.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    print(f"ended server {server.pid}", file=sys.stderr)
