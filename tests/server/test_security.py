"""Who may ask and how: what a stranger, a web page or a broken client can't do."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from amulet_local import Engine, errors, load
from amulet_local.server.failures import HttpError
from amulet_local.server.limits import Access, Limits
from amulet_local.server.model_names import ModelNames
from amulet_local.server.run import check_access, open_port
from tests.scripted import scripted_engine
from tests.server.conftest import Server, lasting, running

SECRET = "xyzzy-plugh"
SHORT = Limits(body_bytes=4096, body_seconds=0.5, head_seconds=0.5, stuck_seconds=0.5)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """What its answers say doesn't matter here."""
    with scripted_engine(n_ctx=512) as scripted, lasting(scripted) as engine:
        yield engine


@pytest.fixture(scope="module")
def server(engine: Engine) -> Iterator[Server]:
    with running(engine) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(engine: Engine) -> Iterator[Server]:
    access = Access(api_keys=("right",), origins=frozenset({"https://chat.example.org"}))
    with running(engine, access=access) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(engine: Engine) -> Iterator[Server]:
    with running(engine, limits=SHORT) as server:
        yield server


def code_of(response: httpx.Response) -> str:
    code: str = response.json()["error"]["code"]
    return code


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "a b", "[::1", "x@y"]
)
@pytest.mark.parametrize("path", ["/health", "/", "/v1/models"])
def test_a_foreign_host_is_refused_everywhere(server: Server, host: str, path: str) -> None:
    response = server.client.get(path, headers={"Host": host})
    assert response.status_code == 403
    assert code_of(response) == "host_not_allowed"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1:1", "[::1]:8080"])
def test_this_machine_s_own_names_are_allowed(server: Server, host: str) -> None:
    assert server.client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused_with_any_method(
    server: Server, origin: str, method: str
) -> None:
    response = server.client.request(
        method, "/v1/chat/completions", headers={"Origin": origin}, json={}
    )
    assert response.status_code == 403
    assert code_of(response) == "origin_not_allowed"
    assert "access-control-allow-origin" not in response.headers


def test_a_foreign_page_that_asks_beforehand_gets_no_permission(server: Server) -> None:
    asked = server.client.options("/v1/models", headers={"Origin": "https://evil.example"})
    assert (asked.status_code, asked.content) == (200, b"")
    assert not [name for name in asked.headers if name.startswith("access-control")]


def test_the_server_s_own_page_may_ask(server: Server) -> None:
    response = server.client.get("/v1/models", headers={"Origin": server.url})
    assert response.status_code == 200


def test_only_listed_pages_get_permission_to_ask_from_elsewhere(keyed: Server) -> None:
    listed = {"Origin": "https://chat.example.org"}
    asked = keyed.client.options("/v1/chat/completions", headers=listed)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://chat.example.org"
    response = keyed.client.get("/v1/models", headers=listed | {"Authorization": "Bearer right"})
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert "access-control-allow-credentials" not in response.headers


def test_a_page_from_elsewhere_that_has_a_key_may_ask(keyed: Server) -> None:
    page = {"Origin": "https://editor.example"}
    asked = keyed.client.options(
        "/v1/models", headers=page | {"Access-Control-Request-Headers": "authorization"}
    )
    assert asked.headers["access-control-allow-origin"] == "https://editor.example"
    assert asked.headers["access-control-allow-headers"] == "authorization"
    answer = keyed.client.get("/v1/models", headers=page | {"Authorization": "Bearer right"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://editor.example"
    for headers in (page, page | {"Authorization": "Bearer wrong"}):
        for path in ("/v1/models", "/health", "/"):
            refused = keyed.client.get(path, headers=headers)
            assert code_of(refused) == "origin_not_allowed"
            assert "access-control-allow-origin" not in refused.headers


def test_everything_but_health_and_the_page_needs_the_key(keyed: Server) -> None:
    document = keyed.client.get("/openapi.json", headers={"Authorization": "Bearer right"}).json()
    for path, methods in document["paths"].items():
        for method in methods:
            response = keyed.client.request(method, path, json={} if method == "post" else None)
            expected = 200 if path == "/health" else 401
            assert response.status_code == expected, path
    assert keyed.client.get("/openapi.json").status_code == 401
    assert keyed.client.get("/page/none.js").status_code == 404
    wrong = {"Authorization": "Bearer righ"}
    assert keyed.client.get("/props", headers=wrong).status_code == 401
    assert keyed.client.get("/props", headers={"X-Api-Key": "right"}).status_code == 200


def test_keys_are_compared_in_constant_time(keyed: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def spy(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    for key in ("r", "right", "right" * 1000):
        keyed.client.get("/props", headers={"Authorization": f"Bearer {key}"})
    assert compared == [(32, 32)] * 3  # digests: their lengths say nothing of the key's


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", "127.example.org"])
def test_an_address_that_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(errors.InvalidParameterError, match="--api-key"):
        check_access(host, Access())
    check_access(host, Access(api_keys=("key",)))


def test_this_machine_s_own_address_needs_none() -> None:
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "::1"):
        check_access(host, Access())


def test_several_addresses_are_served_at_once(engine: Engine) -> None:
    sockets = [open_port("127.0.0.1", 0), open_port("127.0.0.2", 0)]
    with running(engine, listening=sockets) as server:
        for one in sockets:
            host, port = one.getsockname()[:2]
            assert server.client.get(f"http://{host}:{port}/health").status_code == 200


def test_an_address_that_is_taken_or_none_is_a_typed_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(errors.ServerError, match="in use"):
            open_port("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(errors.ServerError, match="can't listen"):
        open_port("no such host", 1)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_what_a_page_s_form_can_send_is_refused_and_a_program_may_send_anything(
    server: Server, kind: str
) -> None:
    for path in ("/v1/chat/completions", "/v1/amulet/control", "/tokenize"):
        for sign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": server.url}, {"Referer": "x"}):
            response = server.client.post(
                path, content=b"{}", headers={"Content-Type": kind, **sign}
            )
            assert response.status_code == 415
    plain = server.client.post(
        "/tokenize", content=b'{"content": "Hi"}', headers={"Content-Type": kind}
    )
    assert plain.status_code == 200


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        *[(f"http://{host}", True) for host in ("localhost", "127.0.0.1:3000", "[::1]:8080")],
        *[(f"http://{host}", False) for host in ("localhost.evil.com", "notlocalhost", "evil.com")],
    ],
)
def test_localhost_stands_for_pages_of_this_machine(origin: str, is_own: bool) -> None:
    assert Access(origins=frozenset({"localhost"})).allows(origin) == is_own


def test_a_large_body_is_refused_before_it_is_read(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        connection.sendall(
            b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1073741824\r\n\r\n"
        )
        assert b"413" in connection.recv(4096).split(b"\r\n")[0]


def test_a_large_body_without_a_length_is_refused(impatient: Server) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1000

    try:
        response = impatient.client.post(
            "/tokenize", content=chunks(), headers={"Content-Type": "application/json"}
        )
    except httpx.TransportError:  # it was refused while the rest was being sent
        return
    assert response.status_code == 413


def test_a_body_that_trickles_is_given_up(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        connection.sendall(
            b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
        assert b"408" in connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
@pytest.mark.lengthy
def test_a_head_that_never_ends_is_given_up(impatient: Server, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        connection.sendall(start)
        assert connection.recv(4096) == b""


def test_a_head_that_is_too_long_is_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
        assert b"400" in connection.recv(4096).split(b"\r\n")[0]


def test_a_client_that_never_reads_loses_its_place(model_path: Path) -> None:
    with (
        load(model_path, n_ctx=512, n_batch=64) as loaded,
        lasting(loaded) as engine,
        running(engine, places=1, waiting=0, limits=SHORT) as server,
    ):
        body = json.dumps(
            {
                "messages": [{"role": "user", "content": "Hi"}],
                "stream": True,
                "ignore_eos": True,
                "amulet_trace": 20,
                "preference": "creative",
                "max_tokens": 450,
            }
        ).encode()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
            ended = [0.0]
            for _ in range(600):
                if server.service.jobs:
                    ended[0] = time.monotonic()
                elif ended[0]:
                    break
                time.sleep(0.1)
            assert not server.service.jobs
        metrics = httpx.get(f"{server.url}/metrics", timeout=60).text
        assert 'requests_total{end="cancelled"} 1' in metrics
        assert server.service.model.pool.n_active == 0


def test_too_many_connections_are_sent_away(engine: Engine) -> None:
    with running(engine, limits=Limits(n_connections=3)) as server:
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(3)]
        try:
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", server.port), timeout=20) as late:
                    first = late.recv(4096)
                if first:
                    break
            assert first.startswith(b"HTTP/1.1 503")
            assert b"retry-after" in first
        finally:
            for connection in held:
                connection.close()


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_deep_is_refused(server: Server, opening: str) -> None:
    response = server.client.post(
        "/tokenize",
        content=opening * 100_000,
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 400
    assert code_of(response) == "too_deep"


@pytest.mark.parametrize("place", ["", "reasoning", "chat_template_kwargs"])
def test_of_very_many_fields_that_mean_nothing_few_are_named(server: Server, place: str) -> None:
    fields: dict[str, object] = {f"f{n}": n + 1 for n in range(20_000)}
    body = {"messages": [{"role": "user", "content": "Why?"}], "max_tokens": 1}
    answer = server.client.post(
        "/v1/chat/completions", json={**body, **({place: fields} if place else fields)}
    )
    assert answer.status_code == 200
    warnings = answer.json()["amulet"]["warnings"]
    assert "and so it is with 19,984 others" in warnings
    assert len(warnings) < 20


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\xff{}",
        b'{"content": NaN}',
        b'{"content": Infinity}',
        b'{"content": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(server: Server, body: bytes) -> None:
    response = server.client.post(
        "/tokenize", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 400


@pytest.mark.parametrize(
    "model",
    ["/etc/passwd", "../smollm2", "smollm2.gguf/..", "smollm2+/etc/passwd", "smollm2+", "+"],
)
def test_models_are_never_paths(server: Server, model: str) -> None:
    """The loaded model answers by any name, or by its own alone; nothing is read by one."""
    response = server.chat(model=model)
    if model.startswith("smollm2+"):
        assert (response.status_code, code_of(response)) == (404, "model_not_found")
    else:
        assert response.json()["amulet"]["preferences"] == []
    with pytest.raises(HttpError) as refused:
        ModelNames(["smollm2"], is_strict=True).find(model)
    assert refused.value.status == 404


opened: list[str] = []
"""Files that this process has opened since the first test that asked for them."""


@pytest.fixture(scope="module")
def opening() -> list[str]:
    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    return opened


def test_a_path_that_is_there_names_no_model_and_is_not_opened(
    server: Server, opening: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "other.gguf"
    file.write_text("pirate")
    opening.clear()
    for model in (f"{file}", f"smollm2+{file}", f"other+{file}", f"file://{file}"):
        answer = server.chat(model=model).json()
        assert "error" in answer or answer["amulet"]["preferences"] == []
        assert "error" in server.client.get(f"/v1/models/smollm2+{file}").json()
    assert not [name for name in opening if "other.gguf" in name]
    names = ModelNames(["smollm2", str(file)], is_strict=True)
    assert names.find("other.gguf").name == "other.gguf"
    for model in (str(file), f"{file}+creative", f"{tmp_path}/./other.gguf", "../other.gguf"):
        assert not names.knows(model)
        with pytest.raises(HttpError):
            names.find(model)
    assert not any("/" in name for name in ModelNames([str(file)]).listed())


@pytest.mark.parametrize("path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "app.py", "", "."])
def test_the_page_s_folder_gives_its_own_files_only(server: Server, path: str) -> None:
    assert server.client.get(f"/page/{path}").status_code == 404


def test_errors_repeat_no_prompt(server: Server) -> None:
    bodies = [
        {"messages": SECRET},
        {"messages": [{"role": "user", "content": {"a": SECRET}}]},
        {"messages": [{"role": "user", "content": SECRET * 500}]},
        {"messages": [{"role": "user", "content": SECRET + "\ud800"}]},
        {"messages": [{"role": "user", "content": SECRET}], "temperature": -1},
    ]
    for body in bodies:
        response = server.client.post(
            "/v1/chat/completions",
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert response.status_code == 400
        assert SECRET not in response.text
        assert "Traceback" not in response.text
        assert "amulet_local/" not in response.text


def test_logs_have_no_prompt_no_key_and_one_line_a_request(
    keyed: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        keyed.client.post(
            f"/v1/chat/completions%0d%0aforged?q={SECRET}",
            json={"messages": [{"role": "user", "content": SECRET}]},
            headers={"Authorization": f"Bearer {SECRET}"},
        )
        keyed.client.get("/v1/models", headers={"Authorization": "Bearer right"})
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert any("%0d%0a" in line for line in lines)
    assert all("\n" not in line and "\r" not in line for line in lines)
    assert not any(SECRET in line or "right" in line for line in lines)


def test_an_unexpected_error_says_nothing_of_its_inside(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(name: object) -> None:
        raise RuntimeError(f"{SECRET} /a/path")

    monkeypatch.setattr(server.service.model.names, "find", fail)
    response = server.chat()
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert SECRET not in response.text + caplog.text


def test_answers_carry_the_headers_that_browsers_heed(server: Server) -> None:
    for path in ("/health", "/v1/models", "/page/none.js", "/nothing"):
        headers = server.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_stream_s_events_are_lines_whatever_the_model_writes(server: Server) -> None:
    """Line ends, U+2028 and </script> stay inside JSON."""
    grammar = r'root ::= "\r\n\r\ndata: [DONE]\n\n" "</script>"'
    response = server.chat(grammar=grammar, stream=True, max_tokens=60)
    events = [line for line in response.content.split(b"\n") if line]
    assert all(event.startswith(b"data: ") for event in events)
    assert response.content.isascii()
    texts = [json.loads(event[6:])["choices"][0]["delta"] for event in events[:-1]]
    text = "".join(delta.get("content") or "" for delta in texts)
    assert text == "\r\n\r\ndata: [DONE]\n\n</script>"
    assert events[-1] == b"data: [DONE]"


def test_loading_says_so_and_the_port_is_open(engine: Engine) -> None:
    hold = threading.Event()
    with running(engine, hold=hold) as server:
        try:
            for response in (server.client.get("/health"), server.chat()):
                assert response.status_code == 503
                assert code_of(response) == "loading"
                assert int(response.headers["retry-after"]) >= 1
        finally:
            hold.set()
        assert server.ready.wait(60)
        assert server.client.get("/health").json() == {"status": "ok"}


def test_the_key_file_s_lines_are_keys(tmp_path: Path) -> None:
    from amulet_local.cli.serve import ServeOptions, _access

    file = tmp_path / "keys"
    file.write_text("one\n\n two \n")
    assert _access(ServeOptions(api_key_file=str(file), api_key=["three"])).api_keys == (
        "three",
        "one",
        "two",
    )
    file.write_text("\n")
    with pytest.raises(errors.InvalidParameterError, match="no key"):
        _access(ServeOptions(api_key_file=str(file)))
