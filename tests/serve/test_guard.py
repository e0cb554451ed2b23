"""Who may ask, how much, how slowly: keys, hosts, origins, limits; broken and slow clients hold up nobody."""

import asyncio
import gzip
import json
import socket
import threading
import time

import httpx
import openai
import pytest
from raising import refused

from reread.errors import BadInput
from reread.serve.config import ServeConfig
from reread.serve.guard import DRAINED, Guard, host_of

KEY = "a-key-of-sixteen-or-more"
TEXT = "Applicant: Roche Diagnostics. Product code: DEW."
LONG = {"model": "tiny", "prompt": "Write.", "max_tokens": 512}


@pytest.fixture(scope="module")
def http(quick):
    with quick.http() as one:
        yield one


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org", "10.0.0.1"])
def test_an_open_address_needs_a_key(host):
    with refused(BadInput, got=f"host {host}", naming="API key"):
        ServeConfig(host=host).check()
    ServeConfig(host=host, api_key=KEY).check()


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "short"},
        {"api_key": "é" * 20},
        {"port": 70000},
        {"queue": -1},
        {"concurrency": 0},
        {"max_tokens": 0},
    ],
)
def test_what_no_server_is_started_with(settings):
    with pytest.raises(BadInput):
        ServeConfig(**settings).check()


def test_the_key_is_in_no_text_of_the_configuration():
    assert KEY not in repr(ServeConfig(api_key=KEY))


def test_a_key_is_asked_for_everywhere_but_at_the_page_and_health(serving):
    with serving(api_key=KEY) as served, served.http() as http:
        assert http.get("/").status_code == 200 == http.get("/health").status_code
        for method, path in (
            ("POST", "/"),
            ("POST", "/health"),
            ("GET", "/v1/models"),
            ("GET", "/metrics"),
            ("POST", "/v1/documents"),
            ("GET", "/nowhere"),
            ("POST", "/v1/completions"),
            ("GET", "/openapi.json"),
        ):
            got = http.request(method, path)
            assert got.status_code == 401 and got.json()["error"]["code"] == "invalid_api_key"
            assert got.headers["www-authenticate"] == "Bearer"
        for wrong in ("", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", "Bearer \xe9", "Bearer"):
            headers = {"Authorization": wrong.encode("latin-1")}
            assert http.get("/v1/models", headers=headers).status_code == 401
        with pytest.raises(openai.AuthenticationError):
            served.openai(key="another").models.list()
        assert served.openai(key=KEY).models.list().data[0].id == "tiny"


def test_an_open_address_with_a_key_answers_to_any_name(serving):
    """A proxy has a name of its own; who rebinds a name has no key."""
    with serving(host="0.0.0.0", api_key=KEY) as served, served.http() as http:
        headers = {"Authorization": f"Bearer {KEY}", "Host": "states.example.org"}
        assert http.get("/v1/models", headers=headers).status_code == 200
        assert http.get("/v1/models", headers={**headers, "Origin": "https://states.example.org"}).status_code == 200
        assert http.get("/v1/models", headers={**headers, "Origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("127.0.0.1:9", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("evil.org:80", "evil.org"),
        ("", ""),
    ],
)
def test_names_of_hosts(value, name):
    assert host_of(value) == name


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:7", "Origin": "http://localhost:7"}, 200),
        ({"Host": "localhost:7", "Origin": "http://localhost:8"}, 403),
        ({"Host": "localhost:7", "Origin": "http://evil-localhost:7"}, 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(http, headers, status):
    got = http.get("/v1/models", headers=headers)
    assert got.status_code == status
    assert not [name for name in got.headers if name.startswith("access-control")]
    assert http.options("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403


def test_every_reply_says_how_it_may_be_used(http):
    for got in (http.get("/health"), http.get("/nowhere"), http.get("/", headers={"Host": "evil"})):
        assert got.headers["x-content-type-options"] == "nosniff" and got.headers["cache-control"] == "no-store"
        assert "server" not in got.headers
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/chat/completions"])
def test_a_body_over_the_limit_is_413(serving, path):
    with serving(max_body_mib=1) as served, served.http() as http:
        for size in (2**20 + 1, 3 * 2**20):
            got = http.post(path, content=b"x" * size, headers={"content-type": "application/json"})
            assert got.status_code == 413 and got.json()["error"]["code"] == "request_too_large"
        pieces = (b"x" * 100_000 for _ in range(15))  # in chunks, without a length
        assert http.post(path, content=pieces).status_code == 413
        assert http.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "tiny", "prompt": "x" * 300}),
        (
            "/v1/chat/completions",
            {
                "model": "tiny",
                "messages": [{"role": "system", "content": "A text."}, {"role": "user", "content": "x" * 300}],
            },
        ),
        (
            "/v1/chat/completions",
            {
                "model": "tiny",
                "messages": [{"role": "system", "content": "A text."}, {"role": "user", "content": "x"}],
                "reread": {"budget": 1024},
            },
        ),
        (
            "/v1/chat/completions",
            {
                "model": "tiny",
                "messages": [{"role": "system", "content": "x" * 60}, {"role": "user", "content": "x"}],
                "reread": {"strategy": "repeat(n=8)"},
            },
        ),
        ("/v1/documents", {"text": "A text. " * 50, "strategy": "repeat(cue=False, n=3)", "budget": 100}),
        ("/v1/documents", {"text": "A text.", "budget": 1024}),
    ],
)
def test_more_tokens_than_are_read_are_refused(serving, path, body):
    with serving(max_prompt_tokens=200) as served, served.http() as http:
        got = http.post(path, json=body)
        assert got.status_code == 400 and got.json()["error"]["code"] == "context_length_exceeded"
        short = {"model": "tiny", "prompt": "x" * 199, "max_tokens": 2}
        assert http.post("/v1/completions", json=short).status_code == 200


def test_a_document_and_its_question_together_have_the_same_limit(serving):
    with serving(max_prompt_tokens=200) as served, served.http() as http:
        id = served.read("x" * 190, budget=195)["id"]
        chat = {"model": "tiny", "reread": {"document": id}, "max_tokens": 2}
        asked = {"messages": [{"role": "user", "content": "y" * 30}]}
        got = http.post("/v1/chat/completions", json={**chat, **asked})
        assert got.status_code == 400 and got.json()["error"]["code"] == "context_length_exceeded", got.text


def test_what_is_read_to_choose_units_has_a_limit(serving):
    lines = "\n".join(f"{i}" for i in range(60))
    chat = {
        "model": "tiny",
        "messages": [{"role": "system", "content": lines}, {"role": "user", "content": "Field 3"}],
        "reread": {"strategy": "selective(by=likelihood, k=1, unit=line)"},
        "max_tokens": 2,
    }
    with serving(max_prompt_tokens=1000) as served, served.http() as http:
        assert http.post("/v1/chat/completions", json=chat).status_code == 200
    with serving(max_prompt_tokens=300) as served, served.http() as http:
        got = http.post("/v1/chat/completions", json=chat)
        assert got.status_code == 400, got.text


def test_of_a_body_without_end_so_much_is_read_and_no_more():
    async def endless():
        came.append(100_000)
        return {"type": "http.request", "body": b"x" * came[-1], "more_body": True}

    async def told():
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": False}

    guard, came = Guard(None, ServeConfig(max_body_mib=1), None), []
    body, size = asyncio.run(asyncio.wait_for(guard._arrived(endless), 20))
    assert body == b"" and size == sum(came) <= (DRAINED + 1) * 2**20
    assert asyncio.run(guard._arrived(told)) == (b"x" * 2**20, 2**20)  # as large as it may be


def connected(served):
    host, port = served.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head(served, body, *, length=None, path="/v1/completions"):
    size = len(body) if length is None else length
    host = served.url.removeprefix("http://")
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {size}")
    return "\r\n".join([*lines, "", ""]).encode()


def test_too_many_requests_are_429_and_come_again(serving):
    with serving(concurrency=1, queue=1, max_tokens=100_000) as served:
        body = json.dumps({**LONG, "max_tokens": 50_000}).encode()
        busy = [connected(served) for _ in range(2)]
        for one in busy:
            one.sendall(head(served, body) + body)
        deadline = time.monotonic() + 20
        while served.metric("reread_requests_in_progress") < 3 and time.monotonic() < deadline:  # and the one that asks
            time.sleep(0.01)
        with pytest.raises(openai.RateLimitError) as told:
            served.openai().completions.create(model="tiny", prompt="x")
        assert told.value.response.headers["retry-after"] == "1"
        assert served.http().get("/health").json() == {"status": "ok", "model": "tiny", "waiting": 1, "writing": 1}
        for one in busy:
            one.close()
        patient = served.openai().with_options(max_retries=5)
        assert patient.completions.create(model="tiny", prompt="x", max_tokens=2).choices


def test_half_requests_hold_up_nobody_and_are_given_up(serving):
    with serving(body_seconds=1.0) as served, served.http() as http:
        body = json.dumps(LONG).encode()
        halves = [connected(served) for _ in range(20)]
        for place, one in enumerate(halves):
            one.sendall((head(served, body) + body[:10]) if place % 2 else b"POST /v1/comp")
        small = {**LONG, "max_tokens": 3}
        assert http.post("/v1/completions", json=small).status_code == 200
        answer = halves[1].recv(4096)
        assert answer.startswith(b"HTTP/1.1 408") and b"request_timeout" in answer + halves[1].recv(4096)
        for one in halves:
            one.close()
        assert http.post("/v1/completions", json=small).status_code == 200
        deadline = time.monotonic() + 10
        while served.metric("reread_requests_in_progress") > 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert served.metric("reread_requests_in_progress") == 1  # the one that asks


def test_requests_without_a_body_keep_none_and_take_nobodys_place(serving):
    """Half a GET with a large body: it is answered or waits, and no POST is refused for it."""
    with serving(concurrency=1, queue=0, api_key="k" * 16) as served:
        halves = [connected(served) for _ in range(5)]
        for one in halves:
            one.sendall(head(served, b"", length=10_000_000, path="/health").replace(b"POST", b"GET") + b"x" * 1000)
        small = {**LONG, "max_tokens": 2}
        key = {"Authorization": f"Bearer {'k' * 16}"}
        with served.http(headers=key) as http:
            assert http.post("/v1/completions", json=small).status_code == 200
        assert halves[0].recv(4096).startswith(b"HTTP/1.1 200")
        for one in halves:
            one.close()


def test_limits_below_the_defaults_are_the_defaults(serving):
    with serving(max_tokens=3, max_prompt_tokens=200) as served, served.http() as http:
        messages = [{"role": "system", "content": "One line.\nTwo lines."}, {"role": "user", "content": "Line"}]
        got = http.post("/v1/chat/completions", json={"model": "tiny", "messages": messages}).json()
        assert got["usage"]["completion_tokens"] <= 3
        assert served.read("One line.")["tokens"] > 0
        more = {"model": "tiny", "messages": messages, "max_tokens": 4}
        assert http.post("/v1/chat/completions", json=more).status_code == 400


def idle(served, seconds=10.0):
    """Whether nothing is written or waits any more, soon."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if served.metric("reread_writing") == 0 == served.metric("reread_waiting"):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("stream", [True, False])
def test_who_leaves_in_the_middle_is_written_for_no_more(serving, tiny, monkeypatch, stream):
    with serving(max_tokens=100_000, max_prompt_tokens=200_000) as served:
        body = json.dumps({**LONG, "max_tokens": 50_000, "stream": stream}).encode()
        one = connected(served)
        one.sendall(head(served, body) + body)
        if stream:
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
        deadline = time.monotonic() + 10
        while served.metric("reread_writing") == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert served.metric("reread_writing") == 1
        one.close()
        assert idle(served)
        assert served.metric('reread_tokens_total{kind="written"}') == 0


@pytest.mark.slow
def test_who_does_not_read_holds_up_nobody(serving):
    with serving(max_tokens=2000) as served, served.http() as http:
        body = json.dumps({**LONG, "max_tokens": 500, "stream": True}).encode()
        deaf = [connected(served) for _ in range(3)]
        for one in deaf:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(head(served, body) + body)
        got = http.post("/v1/completions", json={**LONG, "max_tokens": 5})
        assert got.status_code == 200 and got.json()["usage"]["completion_tokens"] == 5
        assert idle(served, 30)  # written to the end, though nobody has read it
        for one in deaf:
            one.close()


@pytest.mark.parametrize(
    "sent", [b"\x00\x01\x02\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"a" * 70_000, b"\r\n\r\n"]
)
def test_what_is_no_http_is_closed(quick, http, sent):
    with connected(quick) as one:
        one.sendall(sent)
        one.shutdown(socket.SHUT_WR)
        one.recv(4096)
    assert http.get("/health").status_code == 200


BAD = [
    b"", b"{", b"null", b'{"model": "tiny", "prompt": "x", "seed": ' + b"9" * 5000 + b"}",
    b"[]", b'"x"', b"{}", b"\xff", b"[" * 50_000, b'{"model": "tiny"}',
    *(json.dumps({"model": "tiny", "prompt": "x", **more}).encode() for more in (
        {"prompt": None}, {"prompt": []}, {"prompt": ["a", 5]}, {"prompt": [1, 2]}, {"prompt": ["x"] * 17},
        {"prompt": ["a", ""]}, {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": "5"}, {"max_tokens": 1.5},
        {"max_tokens": True}, {"max_tokens": 10**30},
        {"temperature": -1}, {"temperature": 2.1}, {"temperature": "hot"}, {"top_p": 0}, {"top_p": 1.1}, {"seed": 1.5},
        {"stop": ""}, {"stop": ["a"] * 5}, {"stop": [""]}, {"stop": 5}, {"stream": "yes"}, {"stream_options": {"x": 1}},
        {"n": 2}, {"best_of": 3}, {"logprobs": 1}, {"echo": True}, {"suffix": "x"}, {"logit_bias": {"5": 1}},
        {"presence_penalty": 1.0}, {"tools": [{}]}, {"response_format": {"type": "json_object"}}, {"max_token": 5},
        {"reread": []}, {"reread": {"x": 1}}, {"reread": {"strategy": "twice"}}, {"reread": {"budget": 5}},
        {"reread": {"policy": "nonsense"}}, {"reread": {"policy": 5}},
        {"reread": {"policy": "learned(path='/etc/passwd')"}},
    )),
]  # fmt: skip


@pytest.mark.parametrize("body", BAD, ids=range(len(BAD)))
def test_bad_input_is_one_sentence_in_the_shape_of_openai(http, body):
    got = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert got.status_code == 400, got.text
    error = got.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert error["message"].endswith((".", "?")) and "Traceback" not in error["message"] and len(error["message"]) < 600
    assert error["code"] and (error["param"] is None or isinstance(error["param"], str))


@pytest.mark.parametrize(
    ("more", "parts", "param"),
    [
        ({"prompt": ["a", 5]}, ["prompt.1", "got '5'"], "prompt.1"),
        ({"max_tokens": "5"}, ["max_tokens", "integer", "got '5'"], "max_tokens"),
        ({"stop": "x" * 257}, ["stop", "allowed: ", "4", "256"], "stop"),
        ({"stop": 5}, ["stop", "string", "got '5'"], "stop"),
        ({"reread": {"x": 1}}, ["reread.x", "got '1'"], "reread.x"),
        ({"max_token": 5}, ["got 'max_token'", "'max_tokens'"], "max_token"),
        ({"n": 2}, ["n ", "allowed: 1"], "n"),
        ({"model": None}, ["model", "got 'None'"], "model"),
    ],
)
def test_the_sentence_names_the_field(http, more, parts, param):
    got = http.post("/v1/completions", json={"model": "tiny", "prompt": "x", **more}).json()["error"]
    assert got["param"] == param and all(part in got["message"] for part in parts), got


def test_nan_and_infinity_are_no_temperatures(http):
    for value in (b"NaN", b"Infinity", b"-Infinity"):
        body = b'{"model": "tiny", "prompt": "x", "temperature": ' + value + b"}"
        got = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        assert got.status_code == 400


def test_the_strategy_of_a_chat_names_no_file_and_has_an_end(http):
    def ask(**ways):
        messages = [{"role": "system", "content": "One line.\nTwo lines."}, {"role": "user", "content": "Line"}]
        return http.post(
            "/v1/chat/completions", json={"model": "tiny", "messages": messages, "max_tokens": 2, "reread": ways}
        )

    for strategy in (
        "selective(by='learned(/etc/passwd)')", "repeat(n=9)", "hierarchical(times='1+900')", "oprm(unit=window(1))",
        "selective(k=0)", "oprm(unit=nothing)", r"oprm(unit='\x77indow(1)')",
        "oprm(unit='win' 'dow(1)')", "x" * 300, "twice(", "__import__('os')", "shuffled(path='/etc')",
    ):  # fmt: skip
        got = ask(strategy=strategy)
        assert got.status_code == 400 and "root:" not in got.text, strategy
    assert ask(strategy="repeat(n=8)").status_code == 200
    assert ask(window="answer_centered").status_code == 400


def test_paths_methods_and_faults_have_the_same_shape(http, quick, monkeypatch):
    for method, path, status in (
        ("GET", "/v1/nowhere", 404),
        ("POST", "/v1/models", 405),
        ("PUT", "/v1/documents", 405),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/docs", 404),
    ):
        got = http.request(method, path)
        assert got.status_code == status and set(got.json()["error"]) == {"message", "type", "param", "code"}

    def broken(*given, **named):
        raise RuntimeError("a secret of the server")

    monkeypatch.setattr(quick.desk, "listed", broken)
    got = http.get("/v1/documents")
    assert got.status_code == 500 and got.json()["error"]["type"] == "server_error" and "secret" not in got.text
    monkeypatch.setattr(quick.desk.reader, "begin", broken)
    got = http.post("/v1/completions", json={**LONG, "max_tokens": 2})
    assert got.status_code == 500 and "secret" not in got.text
    monkeypatch.undo()
    assert http.post("/v1/completions", json={**LONG, "max_tokens": 2}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/v1/documents", "/metrics"])
def test_head_is_get_without_the_body(http, path):
    head, got = http.head(path), http.get(path)
    assert head.status_code == got.status_code == 200 and head.content == b"" and got.content
    assert head.headers["content-type"] == got.headers["content-type"]


def test_head_is_refused_where_get_is(http, serving):
    assert http.head("/v1/chat/completions").status_code == 405 and http.head("/v1/nowhere").status_code == 404
    with serving(api_key="a key of some length") as one:
        assert one.http().head("/v1/models").status_code == 401 and one.http().head("/health").status_code == 200


@pytest.mark.parametrize("path", ["/v1/documents", "/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("body", "more", "status", "parts"),
    [
        (gzip.compress(b"{}", mtime=0), {"content-encoding": "gzip"}, 415, ("compressed", "gzip")),
        (gzip.compress(b"{}", mtime=0), {}, 400, ("not UTF-8", "gzip")),
        ('{"prompt": "Gr\u00fc\u00dfe"}'.encode("latin-1"), {}, 400, ("not UTF-8", "byte 14", "0xfc")),
        ('{"prompt": "x"}'.encode("utf-16"), {}, 400, ("not UTF-8", "byte 0", "0xff")),
        (b"{}", {"content-encoding": "br"}, 415, ("compressed", "br")),
    ],
)  # fmt: skip
def test_a_body_that_is_compressed_or_not_utf8_is_named(http, path, body, more, status, parts):
    got = http.post(path, content=body, headers={"content-type": "application/json", **more})
    assert got.status_code == status and all(part in got.json()["error"]["message"] for part in parts), got.text


def test_reread_null_is_no_wish(http):
    asked = {"model": "tiny", "prompt": "x", "max_tokens": 2}
    texts = [
        http.post("/v1/completions", json={**asked, **more}).json()["choices"][0]["text"]
        for more in ({}, {"reread": None}, {"reread": {}})
    ]
    assert texts[0] == texts[1] == texts[2]


def test_a_fault_in_the_middle_of_a_stream_is_its_last_event(http, quick, monkeypatch):
    model, steps = quick.desk.reader.lm.model, []
    step = model.step

    def tired(token, state):
        steps.append(1)
        if len(steps) > 3:
            raise RuntimeError("a secret of the server")
        return step(token, state)

    monkeypatch.setattr(model, "step", tired)
    with pytest.raises(openai.APIError, match="its log says why") as told, quick.openai() as client:
        for _ in client.completions.create(**LONG, stream=True):
            pass
    assert "secret" not in str(told.value) and len(steps) == 4
    monkeypatch.undo()
    assert http.post("/v1/completions", json={**LONG, "max_tokens": 2}).status_code == 200


def test_one_bad_prompt_of_a_batch_spoils_no_other(http, quick, monkeypatch):
    """Whose fault it was is found by reading each alone."""
    begin = quick.desk.reader.begin

    def picky(prompts):
        if any(tuple(quick.desk.tokens("bad")) == prompt.tokens[:3] for prompt in prompts):
            raise BadInput("this one is bad")
        return begin(prompts)

    want = http.post("/v1/completions", json={**LONG, "prompt": "ok 1", "max_tokens": 4}).json()["choices"][0]["text"]
    monkeypatch.setattr(quick.desk.reader, "begin", picky)
    found = {}

    def ask(prompt):
        found[prompt] = httpx.post(
            f"{quick.url}/v1/completions", json={**LONG, "prompt": prompt, "max_tokens": 4}, timeout=60
        )

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in ("ok 1", "bad!", "ok 2", "ok 3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {prompt: got.status_code for prompt, got in found.items()} == {
        "ok 1": 200,
        "bad!": 400,
        "ok 2": 200,
        "ok 3": 200,
    }
    assert found["ok 1"].json()["choices"][0]["text"] == want


def test_metrics_are_what_prometheus_reads_and_hold_no_text_of_clients(http):
    http.get("/v1/documents/secret-name-of-mine")
    http.get("/secret-path-of-mine")
    text = http.get("/metrics").text
    assert "secret" not in text
    for name in ("reread_requests_total", "reread_request_seconds_bucket", "reread_waiting", "reread_writing"):
        assert name in text
    parser = pytest.importorskip("prometheus_client.parser")
    assert len(list(parser.text_string_to_metric_families(text))) >= 7
