"""Fetching from a server on the loopback that does everything a server can do wrong."""

from __future__ import annotations

import gzip
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from pgtools.errors import InputError, MissingModelError, OutputError, UsageError
from pgtools.models import download, web
from pgtools.models.download import Patience
from pgtools.models.fetch import chosen_models, fetch
from pgtools.models.registry import model_named
from tests.models.serving import cut, entry, file, leftovers, send, status, tensors

CONTENT = tensors()
HALF = len(CONTENT) // 2
HASTE = Patience(timeout=0.3, tries=3, pause=0.01)


def get(name="toy", source=None):
    return fetch(model_named(name), source, patience=HASTE)


@pytest.fixture
def toy(server, own):
    """A network with a known size and hash, offered by the server."""
    own.write_text(entry(CONTENT, f"{server.address}/toy.safetensors"))
    return server


@pytest.fixture
def unknown(server, own):
    """A network of which nobody has said size or hash."""
    own.write_text(entry(None, f"{server.address}/toy.safetensors"))
    return server


def test_a_file_is_fetched_once_and_then_left_alone(toy, cache) -> None:
    toy.answers = [file(CONTENT)]
    done = get()
    assert (done.outcome, done.known_by, done.bytes) == ("downloaded", "registry", len(CONTENT))
    assert done.path.read_bytes() == CONTENT
    assert leftovers(cache) == ["toy.safetensors"]
    assert get().outcome == "present"
    assert len(toy.asked) == 1
    assert toy.asked[0].headers["Accept-Encoding"] == "identity"
    assert toy.asked[0].headers["User-Agent"] == "pgtools"


def test_what_is_there_needs_no_room_and_no_address(own, cache, monkeypatch) -> None:
    own.write_text(entry(CONTENT, ""))
    cache.mkdir()
    (cache / "toy.safetensors").write_bytes(CONTENT)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert chosen_models(["toy"], None) == [model_named("toy")]
    assert get().outcome == "present"


def test_a_damaged_file_is_replaced(toy, cache) -> None:
    toy.answers = [file(CONTENT)]
    cache.mkdir()
    (cache / "toy.safetensors").write_bytes(CONTENT[:-1] + b"x")
    assert get().outcome == "downloaded"
    assert (cache / "toy.safetensors").read_bytes() == CONTENT


def test_a_broken_connection_goes_on_where_it_broke(toy, cache) -> None:
    toy.answers = [cut(CONTENT, HALF), file(CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-"]
    assert toy.asked[1].headers["If-Range"] == '"1"'


def test_the_next_command_goes_on_too(toy, cache) -> None:
    toy.answers = [cut(CONTENT, HALF), *[status(503)] * 2, file(CONTENT)]
    with pytest.raises(InputError, match="answered 503") as caught:
        get()
    assert caught.value.hint.startswith("What has come is kept")
    assert (cache / ".toy.safetensors.partial").read_bytes() == CONTENT[:HALF]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges[-1] == f"bytes={HALF}-"
    assert leftovers(cache) == ["toy.safetensors"]


def test_always_broken_off_is_an_error(toy, cache) -> None:
    toy.answers = [lambda handler: cut(CONTENT, HALF)(handler) if not handler.headers["Range"] else None]
    with pytest.raises(InputError, match="the connection"):
        get()
    assert not (cache / "toy.safetensors").exists()


def test_a_server_that_ignores_ranges_sends_it_all_again(toy) -> None:
    toy.answers = [cut(CONTENT, HALF), lambda handler: send(handler, 200, CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-"]


def test_a_file_that_changed_meanwhile_is_fetched_from_its_start(unknown) -> None:
    other = tensors(1)
    unknown.answers = [cut(CONTENT, HALF), file(other, tag='"2"')]
    assert get().path.read_bytes() == other


def test_two_files_in_one_are_noticed_by_the_hash(toy) -> None:
    """The server forgets that its file has changed: half of an old one was here, and the rest is of the new one."""
    toy.answers = [cut(tensors(1), HALF), *[status(503)] * 2]
    with pytest.raises(InputError):
        get()
    toy.answers[3:] = [file(CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges[3:] == [f"bytes={HALF}-", None]


def test_the_wrong_part_is_not_taken(toy) -> None:
    wrong = f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"
    toy.answers = [cut(CONTENT, HALF), lambda handler: send(handler, 206, CONTENT, Content_Range=wrong), file(CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-", None]


def test_without_a_mark_or_a_hash_nothing_is_continued(unknown) -> None:
    unknown.answers = [cut(CONTENT, HALF, tag=""), file(CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert unknown.ranges == [None, None]


@pytest.mark.parametrize("left", ["known size", "unknown size"])
def test_what_was_complete_already_is_only_checked(left, server, own, cache) -> None:
    own.write_text(entry(CONTENT if left == "known size" else None, f"{server.address}/toy.safetensors"))
    server.answers = [cut(CONTENT, HALF), *[status(503)] * 2, file(CONTENT)]
    with pytest.raises(InputError):
        get()
    (cache / ".toy.safetensors.partial").write_bytes(CONTENT)
    assert get().path.read_bytes() == CONTENT
    assert server.ranges[3:] == ([] if left == "known size" else [f"bytes={len(CONTENT)}-"])


def test_another_address_starts_anew(toy, cache) -> None:
    toy.answers = [cut(CONTENT, HALF), *[status(503)] * 2, file(CONTENT)]
    with pytest.raises(InputError):
        get()
    assert get(source=f"{toy.address}/mirror/").path.read_bytes() == CONTENT
    assert toy.asked[-1].path == "/mirror/toy.safetensors"
    assert toy.ranges[-1] is None


def test_a_body_in_chunks(unknown) -> None:
    def chunked(handler, ended: bytes) -> None:
        send(handler, 200, Content_Length="", Transfer_Encoding="chunked", ETag='"1"')
        for start in range(0, len(CONTENT), HALF):
            part = CONTENT[start : start + HALF]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(ended)

    unknown.answers = [lambda handler: chunked(handler, b"5\r\nab"), lambda handler: chunked(handler, b"0\r\n\r\n")]
    assert get().path.read_bytes() == CONTENT
    assert unknown.ranges == [None, f"bytes={len(CONTENT) + 2}-"]


def test_progress_is_the_position_in_the_file(toy, tmp_path) -> None:
    told = []
    toy.answers = [cut(CONTENT, HALF), file(CONTENT)]
    wanted = download.Wanted(toy.address, tmp_path / "partial", len(CONTENT), True, "")
    download.download(wanted, at=lambda position, total: told.append((position, total)), patience=HASTE)
    positions = [position for position, _ in told]
    assert {total for _, total in told} == {len(CONTENT)}
    assert positions == sorted(positions) and positions[0] == 0 and positions[-1] == len(CONTENT)
    assert HALF in positions


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_passing_fault_of_the_server_is_borne(code, toy) -> None:
    toy.answers = [status(code), file(CONTENT)]
    assert get().outcome == "downloaded"


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
def test_a_lasting_one_is_told_at_once(code, toy, cache) -> None:
    toy.answers = [status(code)]
    with pytest.raises(InputError, match=f"answered {code}") as caught:
        get()
    assert "fetch toy --from" in caught.value.hint
    assert len(toy.asked) == 1
    assert leftovers(cache) == []


def test_what_a_server_says_cannot_steer_the_terminal(toy) -> None:
    def answer(handler) -> None:
        handler.send_response(404, "\x1b]0;owned\x07 \x1b[2J")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    toy.answers = [answer]
    with pytest.raises(InputError) as caught:
        get()
    assert caught.value.message.isprintable()


def test_a_stalled_server_is_left_and_asked_again(toy) -> None:
    toy.answers = [cut(CONTENT, HALF, after=toy.open), file(CONTENT)]
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-"]


def test_a_server_that_never_answers_is_an_error(toy) -> None:
    toy.answers = [lambda handler: toy.open.wait(60)]
    with pytest.raises(InputError, match="no answer in time"):
        get()
    assert len(toy.asked) == HASTE.tries


def drip_headers(handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(CONTENT))
    for _ in range(20):
        handler.server_open.wait(0.05)
        handler.wfile.write(b"X-More: x\r\n")
    handler.wfile.write(b"\r\n" + CONTENT)


def drip_a_line(handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Long: " % len(CONTENT))
    for _ in range(20):
        handler.server_open.wait(0.05)
        handler.wfile.write(b"x")
    handler.wfile.write(b"\r\n\r\n" + CONTENT)


def ask_to_wait(handler) -> None:
    give_up = time.monotonic() + 1
    while time.monotonic() < give_up:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
    file(CONTENT)(handler)


@pytest.mark.parametrize("answer", [drip_headers, drip_a_line, ask_to_wait])
def test_headers_that_take_their_time_are_no_answer(toy, answer) -> None:
    def answered(handler) -> None:
        handler.server_open = toy.open
        answer(handler)

    toy.answers = [answered]
    begun = time.monotonic()
    with pytest.raises(InputError, match="no answer in time"):
        get()
    assert len(toy.asked) == HASTE.tries
    assert time.monotonic() - begun < 10 * HASTE.tries * HASTE.timeout


def test_a_body_may_take_longer_than_the_headers(toy) -> None:
    def steady(handler) -> None:
        send(handler, 200, Content_Length=str(len(CONTENT)))
        for start in range(0, len(CONTENT), HALF // 3):
            toy.open.wait(0.2)
            handler.wfile.write(CONTENT[start : start + HALF // 3])

    toy.answers = [steady]
    assert fetch(model_named("toy"), patience=Patience(timeout=1, tries=1)).path.read_bytes() == CONTENT
    assert len(toy.asked) == 1


def test_the_body_of_a_redirect_is_not_waited_for(toy) -> None:
    def endless(handler) -> None:
        send(handler, 302, Location="/elsewhere", Content_Length="")
        for _ in range(40):
            toy.open.wait(0.1)
            handler.wfile.write(b"x")

    toy.answers = [endless, file(CONTENT)]
    begun = time.monotonic()
    assert get().path.read_bytes() == CONTENT
    assert time.monotonic() - begun < 2


def test_a_server_that_drips_is_as_good_as_stalled(toy) -> None:
    def drip(handler) -> None:
        send(handler, 200, Content_Length=str(len(CONTENT)))
        for _ in range(40):
            toy.open.wait(0.05)
            handler.wfile.write(b"\0")

    toy.answers = [drip]
    with pytest.raises(InputError, match="too slowly"):
        get()


def test_another_file_is_refused_and_not_kept(toy, cache) -> None:
    other = tensors(1)
    toy.answers = [file(other)]
    with pytest.raises(InputError, match="is not the published file of toy") as caught:
        get()
    assert hashlib.sha256(other).hexdigest() in caught.value.message
    assert hashlib.sha256(CONTENT).hexdigest() in caught.value.message
    assert leftovers(cache) == []


def test_another_size_is_refused_before_it_is_read(toy, cache) -> None:
    toy.answers = [lambda handler: send(handler, 200, b"x" * 10)]
    with pytest.raises(InputError, match=r"announces 10 bytes; expected 200,"):
        get()
    assert leftovers(cache) == []


def test_fewer_bytes_announced_than_sent_is_another_file(server, own, cache) -> None:
    own.write_text(entry(CONTENT, f"{server.address}/toy.safetensors").replace("bytes =", "scale ="))
    server.answers = [lambda handler: send(handler, 200, CONTENT, Content_Length=str(HALF))]
    with pytest.raises(InputError, match="is not the published file"):
        get()
    assert leftovers(cache) == []


def test_a_body_without_end_is_cut_off(toy, unknown, own, cache, monkeypatch) -> None:
    def endless(handler) -> None:
        send(handler, 200, Content_Length="")
        for _ in range(100):  # as good as endless
            handler.wfile.write(b"\0" * 50_000)

    toy.answers = [endless]
    monkeypatch.setattr(download, "MOST_BYTES", 300_000)
    with pytest.raises(InputError, match="sends more than 300,000 bytes"):
        get()
    own.write_text(entry(CONTENT, f"{toy.address}/toy.safetensors"))
    with pytest.raises(InputError, match=f"sends more than {len(CONTENT):,} bytes"):
        get()
    assert leftovers(cache) == []


def test_a_web_page_is_no_file(unknown, cache) -> None:
    unknown.answers = [lambda handler: send(handler, 200, b"<html>Log in", Content_Type="text/html; charset=utf-8")]
    with pytest.raises(InputError, match="answered with a web page"):
        get()
    assert leftovers(cache) == []


def test_a_web_page_under_a_false_flag_is_no_file_either(unknown, cache) -> None:
    unknown.answers = [lambda handler: send(handler, 200, b"<html>Log in" * 9, Content_Type="application/octet-stream")]
    with pytest.raises(InputError, match="is no weights-only file"):
        get()
    assert leftovers(cache) == []


def test_a_packed_answer_is_refused(toy, cache) -> None:
    toy.answers = [lambda handler: send(handler, 200, gzip.compress(CONTENT), Content_Encoding="gzip")]
    with pytest.raises(InputError, match="packs the file"):
        get()
    assert leftovers(cache) == []


@pytest.mark.parametrize("headers", [{"X": "y" * 70_000}, {f"X{i}": "y" for i in range(200)}], ids=["long", "many"])
def test_headers_without_end_are_refused(headers, toy) -> None:
    toy.answers = [status(200, **headers)]
    with pytest.raises(InputError, match="more than"):
        get()
    assert len(toy.asked) == 1


def test_what_is_no_http_is_an_error(toy) -> None:
    toy.answers = [lambda handler: handler.wfile.write(b"SSH-2.0-server\r\n" * 9)]
    with pytest.raises(InputError, match="the connection failed"):
        get()


def test_a_redirect_is_followed(toy) -> None:
    toy.answers = [status(302, Location="/elsewhere"), file(CONTENT)]
    assert get().outcome == "downloaded"
    assert toy.asked[1].path == "/elsewhere"


def test_a_redirect_in_a_circle_is_an_error(toy) -> None:
    toy.answers = [status(302, Location="/toy.safetensors")]
    with pytest.raises(InputError, match="redirects without end"):
        get()
    assert len(toy.asked) < 12


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://a:b@127.0.0.1/"])
def test_a_redirect_out_of_the_web_is_not_followed(place, toy, cache) -> None:
    toy.answers = [status(302, Location=place)]
    with pytest.raises(InputError, match=r"redirects to no address|a redirect leads nowhere"):
        get()
    assert leftovers(cache) == []


def test_a_redirect_from_https_to_http_is_not_followed() -> None:
    request = urllib.request.Request("https://a.example/toy.pth")
    with Path(os.devnull).open("rb") as body, pytest.raises(InputError, match="to unencrypted http"):
        web._Redirects().redirect_request(request, body, 302, "Found", {}, "http://a.example/toy.pth")


def test_only_the_web_is_opened() -> None:
    for address in ("file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"):
        with pytest.raises(OSError, match="unknown url type"):
            web.opener().open(address)


def test_a_proxy_is_asked(server, own, monkeypatch) -> None:
    own.write_text(entry(CONTENT, "http://networks.invalid/toy.safetensors"))
    monkeypatch.setenv("http_proxy", server.address)
    server.answers = [file(CONTENT)]
    assert get().outcome == "downloaded"
    assert server.asked[0].path == "http://networks.invalid/toy.safetensors"


def test_a_host_without_proxy_is_asked_itself(toy, monkeypatch) -> None:
    toy.answers = [file(CONTENT)]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get().outcome == "downloaded"


def test_nobody_listens(own, cache) -> None:
    own.write_text(entry(CONTENT, "http://127.0.0.1:9/toy.safetensors"))
    with pytest.raises(InputError, match=r"cannot be fetched: Connection refused"):
        get()


def test_a_full_disk_keeps_what_has_come(toy, cache) -> None:
    toy.answers = [file(CONTENT)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large") as caught:
            get()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "free some space" in caught.value.hint
    assert not (cache / "toy.safetensors").exists()
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-"]


def test_too_little_room_is_told_before_the_first_byte(toy, cache, monkeypatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    with pytest.raises(OutputError, match=r"10\.0 kB free") as caught:
        chosen_models(["toy"], None)
    assert "PGTOOLS_CACHE" in caught.value.hint
    assert toy.asked == []


def test_room_for_a_size_that_the_server_announces(unknown, cache, monkeypatch) -> None:
    unknown.answers = [file(CONTENT)]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_100_000}))
    with pytest.raises(OutputError, match=r"1\.1 MB free; about 1\.2 MB are needed"):
        get()
    assert leftovers(cache) == []


@pytest.mark.parametrize("kind", ["read-only", "under a file", "a file"])
def test_a_cache_that_cannot_be_written(kind, toy, cache, monkeypatch) -> None:
    if kind == "read-only":
        cache.mkdir()
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != cache)
    else:
        cache.write_text("")
        monkeypatch.setenv("PGTOOLS_CACHE", str(cache / "below" if kind == "under a file" else cache))
    for attempt in (lambda: chosen_models(["toy"], None), get):
        with pytest.raises(OutputError, match=r"not writable|not a folder|is a file") as caught:
            attempt()
        assert "PGTOOLS_CACHE" in caught.value.hint
    assert toy.asked == []


def command(*words: str) -> subprocess.Popen[str]:
    started = [sys.executable, "-m", "pgtools", "models", *words]
    return subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(true) -> None:
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_interrupted_it_goes_on_where_it_stopped(toy, cache) -> None:
    toy.answers = [cut(CONTENT, HALF, after=toy.open), file(CONTENT)]
    partial = cache / ".toy.safetensors.partial"
    with command("fetch", "toy") as running:
        until(lambda: partial.exists() and partial.stat().st_size == HALF)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "Error: Interrupted." in told and "Traceback" not in told
    assert not (cache / "toy.safetensors").exists()
    assert get().path.read_bytes() == CONTENT
    assert toy.ranges == [None, f"bytes={HALF}-"]


def test_two_at_once_fetch_once(toy, cache) -> None:
    go = threading.Event()

    def slow(handler) -> None:
        go.wait(60)
        file(CONTENT)(handler)

    toy.answers = [slow]
    with command("fetch", "toy") as first:
        until(lambda: toy.asked)
        with command("fetch", "toy") as second:
            assert second.stderr and "Another pgtools is fetching toy" in second.stderr.readline()
            go.set()
            outs = [one.communicate(timeout=60)[0] for one in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert ["downloaded" in outs[0], "present" in outs[1]] == [True, True]
    assert len(toy.asked) == 1


def test_from_a_file_a_folder_or_an_address(toy, cache, tmp_path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()
    with pytest.raises(MissingModelError, match=r"stick/toy\.safetensors is not a file"):
        get(source=str(stick))
    (stick / "toy.safetensors").write_bytes(CONTENT)
    (stick / "other-name").write_bytes(CONTENT)
    toy.answers = [file(CONTENT)]
    for source in (str(stick), str(stick / "other-name"), f"{toy.address}/a/b?c=d", f"{toy.address}/folder/"):
        assert get(source=source).path.read_bytes() == CONTENT
        (cache / "toy.safetensors").unlink()
    assert [handler.path for handler in toy.asked] == ["/a/b?c=d", "/folder/toy.safetensors"]
    (stick / "toy.safetensors").write_bytes(tensors(1))
    with pytest.raises(InputError, match="is not the published file"):
        get(source=str(stick))
    assert leftovers(cache) == []


def test_an_address_of_a_folder_takes_any_file_name(server, own, cache) -> None:
    name = "my net #1 (50%) ä.safetensors"
    own.write_text(entry(CONTENT, "https://a.example/x", file=name))
    server.answers = [file(CONTENT)]
    assert get(source=f"{server.address}/folder/").path.name == name
    assert server.asked[0].path == "/folder/my%20net%20%231%20%2850%25%29%20%C3%A4.safetensors"


def test_what_is_asked_for_must_make_sense(toy, own, cache, tmp_path) -> None:
    own.write_text(own.read_text() + entry(CONTENT, "", name="nowhere"))
    (tmp_path / "file").write_bytes(CONTENT)
    for names, source, everything in (
        ([], None, False),
        (["toy"], None, True),
        (["no-such"], None, False),
        (["toy", "nowhere"], str(tmp_path / "file"), False),
        (["toy"], "ftp://a.example/", False),
    ):
        with pytest.raises(UsageError):
            chosen_models(names, source, everything=everything)
    with pytest.raises(MissingModelError, match="no address for nowhere"):
        chosen_models(["nowhere"], None)
    with pytest.raises(MissingModelError, match="no file of any network"):
        chosen_models([], str(tmp_path), everything=True)
    (tmp_path / "toy.safetensors").write_bytes(CONTENT)
    assert [model.name for model in chosen_models([], str(tmp_path), everything=True)] == ["toy"]
    assert "fbcnn-color" in [model.name for model in chosen_models([], None, everything=True)]
