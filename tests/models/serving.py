"""A server on the loopback that answers as a test says, well or badly, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from safetensors.numpy import save

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers the n-th request with the n-th answer, and all further ones with the last."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[BaseHTTPRequestHandler] = []
        self.open = threading.Event()  # set in the end: what stalls may stop

        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self)
                answer = outer.answers[min(len(outer.asked), len(outer.answers)) - 1]
                with contextlib.suppress(ConnectionError):
                    answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of every request."""
        return [handler.headers["Range"] for handler in self.asked]

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def send(handler: BaseHTTPRequestHandler, code: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(code)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        if value:
            handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, **headers: str) -> Answer:
    return lambda handler: send(handler, code, **headers)


def file(content: bytes, *, tag: str = '"1"') -> Answer:
    """A good server: ranges, and If-Range by its ETag."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked, condition = handler.headers["Range"], handler.headers["If-Range"]
        if not asked or (condition and condition != tag):
            send(handler, 200, content, ETag=tag)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            send(handler, 416, Content_Range=f"bytes */{len(content)}")
            return
        part = f"bytes {start}-{len(content) - 1}/{len(content)}"
        send(handler, 206, content[start:], ETag=tag, Content_Range=part)

    return answer


def cut(content: bytes, sent: int, *, tag: str = '"1"', after: threading.Event | None = None) -> Answer:
    """Announces all, sends `sent` bytes, and hangs up, or waits for `after` first."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(handler, 200, content[:sent], ETag=tag, Content_Length=str(len(content)))
        handler.wfile.flush()
        if after:
            after.wait(60)

    return answer


def tensors(seed: int = 0, count: int = 50_000) -> bytes:
    """A file of weights: safetensors with `count` float32."""
    return save({"weight": np.random.default_rng(seed).standard_normal(count).astype(np.float32)})


def entry(content: bytes | None, url: str, *, name: str = "toy", **more: str | int) -> str:
    """A TOML table; with `content`, its size and hash are known."""
    known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} if content else {}
    table = {"task": "test", "file": f"{name}.safetensors", "licence": "MIT", "url": url, **known, **more}
    lines = [f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in table.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
