"""Who may ask, and what happens to a request that is no good: a status from 400 on, in the API's form, and no log."""

import http.client
import json
import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.serve.__main__ import main
from commands.serve.guard import BODY_BYTES
from tests.commands.serve.running import Running, chat_model, served

JSON = {"Content-Type": "application/json"}
CHAT = "/v1/chat/completions"
GOOD: dict[str, Any] = {"model": "tiny-chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


def ask(
    running: Running, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    connection.request(
        method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers or {}
    )
    answer = connection.getresponse()
    result = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return result


def refused(running: Running, *request: Any) -> tuple[int, str]:
    """Status and message of an answer that is an error in the API's form."""
    status, headers, body = ask(running, *request)
    assert 400 <= status < 500, (request, status, body)
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return status, error["message"]


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7", "LOCALHOST", "localhost."]
)
def test_this_server_is_asked_by_its_own_names(chat: Running, host: str) -> None:
    assert ask(chat, "GET", "/v1/models", {"Host": host})[0] == 200
    own = {"Host": host, "Origin": f"http://{host}", **JSON}
    assert ask(chat, "POST", CHAT, own, GOOD)[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.org", "127.0.0.1.evil.org", "localhost.evil.org", "", "a@localhost", "localhost:x", "[::1", "[x]", "a/b"],
)
def test_a_name_that_may_lead_elsewhere_is_refused(chat: Running, host: str) -> None:
    for path in ("/", "/v1/models", "/nowhere"):
        assert refused(chat, "GET", path, {"Host": host})[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.org", "https://localhost", "null", "http://localhost:1", "http://"])
def test_a_page_of_another_site_may_not_ask(chat: Running, origin: str) -> None:
    status, message = refused(chat, "POST", CHAT, {"Host": "localhost", "Origin": origin, **JSON}, GOOD)
    assert (status, "--allow-origin" in message) == (403, True)
    assert refused(chat, "OPTIONS", CHAT, {"Host": "localhost", "Origin": origin})[0] == 403


def test_names_and_origins_can_be_allowed(tmp_path: Path) -> None:
    with served(chat_model(tmp_path), "tiny-chat", hosts=["box.lan"], origins=["https://my.site"]) as running:
        assert ask(running, "GET", "/", {"Host": "box.lan:80"})[0] == 200
        headers = {"Origin": "https://my.site", "Host": "box.lan"}
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        status, answer, _ = ask(running, "OPTIONS", CHAT, headers | preflight)
        assert (status, answer["access-control-allow-origin"]) == (200, "https://my.site")
        status, answer, _ = ask(running, "POST", CHAT, headers | JSON, GOOD)
        assert (status, answer["access-control-allow-origin"]) == (200, "https://my.site")
        assert refused(running, "POST", CHAT, {"Origin": "https://other.site"} | JSON, GOOD)[0] == 403


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("GET", "/nowhere"), 404),
        (("GET", "/v1/models/other"), 404),
        (("GET", "/v1/models/"), 404),
        (("GET", CHAT), 405),
        (("DELETE", "/v1/models"), 405),
        (("OPTIONS", CHAT), 405),
        (("POST", CHAT, {}, GOOD), 415),
        (("POST", CHAT, {"Content-Type": "text/plain"}, GOOD), 415),
        (("POST", CHAT, JSON, b" " * (BODY_BYTES + 1)), 413),
        (("POST", CHAT, JSON), 400),
        (("POST", CHAT, JSON, b"\xff\xfe"), 400),
        (("POST", CHAT, JSON, b"[" * 200_000), 400),
        (("POST", CHAT, JSON, b'{"seed": ' + b"9" * 10_000 + b"}"), 400),
        (("POST", CHAT, JSON, b'{"temperature": NaN}'), 400),
        (("POST", CHAT, JSON, b'{"\\ud800": 1}'), 400),
        (("POST", CHAT, JSON, GOOD | {"messages": [{"role": "user", "content": "\ud800"}]}), 400),
        (("POST", CHAT, JSON, GOOD | {"seed": -1}), 400),
        (("POST", CHAT, JSON, GOOD | {"seed": 2**64}), 400),
        (("POST", CHAT, JSON, GOOD | {"stream_options": {"include_usage": True}}), 400),
        (("POST", "/v1/completions", JSON, {"model": "tiny-chat", "prompt": [1, 2]}), 400),
        (("POST", "/v1/completions", JSON, {"model": "tiny-chat", "prompt": "\ud800"}), 400),
    ],
)
def test_each_mistake_has_its_status(chat: Running, request_: tuple[Any, ...], status: int) -> None:
    assert refused(chat, *request_)[0] == status


# Values of every kind in the place of every field.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just("\ud800")
    | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["model", "messages", "prompt", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "logprobs", "tools"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([CHAT, "/v1/completions"]),
    st.binary(max_size=40) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), anything, max_size=4),
)
def test_whatever_comes_is_refused_and_the_log_stays_empty(malformed: Running, path: str, body: Any) -> None:
    refused(malformed, "POST", path, JSON, body)


@pytest.fixture
def malformed(chat: Running, caplog: pytest.LogCaptureFixture) -> Any:
    """The server; its log must be empty at the end."""
    caplog.set_level(logging.INFO)
    yield chat
    assert caplog.records == []


def test_what_is_no_http_is_survived(chat: Running) -> None:
    for sent in (
        b"\0\1\2\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", chat.port), timeout=60) as connection:
            connection.sendall(sent)
    assert ask(chat, "GET", "/v1/models")[0] == 200


def test_the_page_may_do_nothing_but_speak_to_this_server(chat: Running) -> None:
    status, headers, body = ask(chat, "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["script-src"].startswith("'sha256-")
    assert b"{script}" not in body
    assert b"http://" not in body.replace(b"http://www.w3.org/2000/svg", b"")  # the name of a format, no address


def test_mistakes_at_the_start_are_one_line(chat: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'none'}: no such folder")
    chat_model(tmp_path)
    assert main([str(tmp_path), "--port", str(chat.port)]) == 1
    assert capsys.readouterr().err == f"error: --host 127.0.0.1 --port {chat.port}: Address already in use\n"
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--port", "70000"])
    message = "error: --port: must be from 0 to 65535, got 70000; --help explains all options\n"
    assert capsys.readouterr().err == message


def test_ctrl_c_ends_it_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    chat_model(tmp_path)
    command = [sys.executable, "-m", "commands.serve", str(tmp_path), "--port", "0", "--max-tokens", "100000"]
    command += ["--backend", "numpy"]  # which needs less time to be there
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        port = int(line.split("http://127.0.0.1:")[1].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        endless = GOOD | {"model": tmp_path.name, "max_tokens": 100_000, "temperature": 2, "stream": True, "n": 4}
        connection.request("POST", CHAT, json.dumps(endless), JSON)
        answer = connection.getresponse()
        answer.readline()
        server.send_signal(2)
        *_, last = answer.read().decode().strip().split("\n\n")
        assert json.loads(last.removeprefix("data: "))["error"]["message"] == "the server stops"
        _, errors = server.communicate(timeout=60)
    assert (server.returncode, errors) == (0, "")
