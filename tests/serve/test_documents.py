"""Documents as a resource: read once, found again by id, checked before they are believed; no id is a path."""

import json
import sys
import time

import httpx
import pytest
from local_server import CONTRACT, running

from reread.models import LM
from reread.store import Store

TEXT = "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011."


@pytest.fixture(scope="module")
def http(quick):
    with quick.http() as one:
        yield one


def chat(http, id, question="Applicant", **more):
    messages = [{"role": "user", "content": question}]
    return http.post(
        "/v1/chat/completions", json={"model": "tiny", "messages": messages, "reread": {"document": id}, **more}
    )


def test_a_document_is_read_once_and_lies_in_the_store(http, quick):
    first = http.post("/v1/documents", json={"text": TEXT, "name": "a.txt", "strategy": "twice(cue=False)"}).json()
    again = http.post("/v1/documents", json={"text": TEXT, "name": "a.txt", "strategy": "twice(cue=False)"}).json()
    assert (first["already_there"], again["already_there"]) == (False, True) and first["id"] == again["id"]
    assert first["object"] == "document" and first["name"] == "a.txt" and first["strategy"] == "twice(cue=False)"
    assert [part["role"] for part in first["parts"]] == ["document", "repeat"]
    assert sum(part["tokens"] for part in first["parts"]) == first["tokens"] == first["prefix_len"]
    assert first["parts"][1]["text"] == TEXT
    document = quick.desk.store.get(first["id"])
    assert document.header.read == first["tokens"] and document.nbytes == first["state_bytes"]
    assert first["file_bytes"] == quick.desk.store.path(first["id"]).stat().st_size > first["state_bytes"]
    got = http.get(f"/v1/documents/{first['id']}").json()
    assert got == {key: first[key] for key in got} and "text" not in json.dumps(got)


@pytest.mark.parametrize(
    ("name", "data", "tokens"),
    [
        ("a.md", b"# Title\n\nText.", b"Title\n\nText."),
        ("b.html", b"<p>One</p><script>no()</script><p>Two</p>", None),
        ("../../etc/passwd.txt", b"A plain text.", b"A plain text."),
        ("..\\..\\boot.ini", b"A plain text 2.", b"A plain text 2."),
        ("\x07bell\n.txt", b"A plain text 3.", b"A plain text 3."),
        ("." * 300, b"A plain text 5.", b"A plain text 5."),
    ],
)
def test_a_file_of_a_form_is_read_as_its_name_says(http, quick, name, data, tokens):
    before = set(quick.desk.store.folder.parent.rglob("*"))
    got = http.post("/v1/documents", files={"file": (name, data)}, data={"budget": "500", "keep_tokens": "true"}).json()
    assert not set(got["name"]) & set("/\\\x07\n") and 0 < len(got["name"]) <= 120 and not got["name"].startswith(".")
    kept = quick.desk.store.get(got["id"])
    if tokens is not None:
        assert bytes(kept.tokens.tolist()) == bytes(quick.desk.tokens(tokens.decode()))
    else:
        assert got["tokens"] < len(data)
    new = set(quick.desk.store.folder.parent.rglob("*")) - before
    assert {path.parent for path in new} == {quick.desk.store.folder}


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("filename*=UTF-8''r%C3%A9sum%C3%A9.txt", "résumé.txt"),
        ("filename=\"resume.txt\"; filename*=UTF-8''r%C3%A9sum%C3%A9.txt", "résumé.txt"),
        ("filename*=iso-8859-1'en'r%E9sum%E9.txt", "résumé.txt"),
        ("FileName* = utf-8''a%22b.txt", "a_b.txt"),
        ("filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ('filename="résumé.txt"', "résumé.txt"),
    ],
)
def test_a_name_with_a_charset_is_that_of_the_file(http, disposition, name):
    text = TEXT + f"\n{disposition}\n"
    body = (
        f'--x\r\nContent-Disposition: form-data; name="file"; {disposition}\r\nContent-Type: text/plain\r\n\r\n'
        f"{text}\r\nContent-Disposition: form-data; filename*=UTF-8''other\r\n\r\n--x--\r\n"
    )
    kind = {"content-type": "multipart/form-data; boundary=x"}
    got = http.post("/v1/documents", content=body.encode(), headers=kind)
    assert got.status_code == 200 and got.json()["name"] == name, got.text
    shown = http.get(f"/v1/documents/{got.json()['id']}/text").json()["text"]
    assert "filename*=UTF-8''other" in shown and disposition.replace(" ", "")[:8] in shown.replace(" ", "")


def test_what_of_a_file_did_not_become_text_is_said(http):
    got = http.post("/v1/documents", files={"file": ("a.csv", "Label,Value\nCode,Grüße\n".encode("cp1252"))}).json()
    assert "Windows-1252" in got["warnings"][0]
    assert "warnings" not in http.post("/v1/documents", json={"text": TEXT}).json()


def test_a_name_with_an_unknown_charset_is_refused(http):
    body = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=klingon''a.txt\r\n\r\nA: b\r\n--x--\r\n"
    got = http.post("/v1/documents", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert got.status_code == 400 and "klingon" in got.json()["error"]["message"]


def test_a_form_may_name_its_file(http):
    text = f"{TEXT} A text of its own."  # a text that is there already keeps the name it was first given
    got = http.post("/v1/documents", files={"file": ("a.txt", text)}, data={"name": "../b.txt"})
    assert got.json()["name"] == "b.txt"
    again = http.post("/v1/documents", json={"text": text, "name": "c.txt"}).json()
    assert again["already_there"] and again["name"] == "b.txt"


def test_a_package_that_is_missing_is_named_and_not_asked_for_again(quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "pdfplumber", None)
    got = httpx.post(f"{quick.url}/v1/documents", files={"file": ("a.pdf", b"%PDF-1.4")})
    assert got.status_code == 501 and "pip install 'reread[documents]'" in got.json()["error"]["message"]
    assert got.headers["x-should-retry"] == "false"


def test_what_is_cut_is_said_and_states_may_be_small(http):
    got = http.post(
        "/v1/documents", json={"text": TEXT, "budget": 20, "state_dtype": "int8", "keep_tokens": False}
    ).json()
    assert got["tokens"] == 20 and "kept 20 of them" in got["cut"] and got["state_dtype"] == "int8"
    whole = http.post("/v1/documents", json={"text": TEXT, "budget": 20}).json()
    assert got["id"] != whole["id"] and got["file_bytes"] < whole["file_bytes"]
    assert chat(http, got["id"]).status_code == 200


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, {"json": {}}),
        (400, {"json": {"text": 5}}),
        (400, {"json": {"text": ""}}),
        (400, {"json": {"text": "   \n"}}),
        (400, {"json": {"text": "a\x00b"}}),
        (400, {"json": {"text": TEXT, "budget": 0}}),
        (400, {"json": {"text": TEXT, "budget": 10**9}}),
        (400, {"json": {"text": TEXT, "budget": "10"}}),
        (400, {"json": {"text": TEXT, "strategy": "twice"}}),
        (400, {"json": {"text": TEXT, "strategy": "nonsense"}}),
        (400, {"json": {"text": TEXT, "strategy": "repeat(cue=False, n=1000000)"}}),
        (400, {"json": {"text": TEXT, "strategy": "(" * 500}}),
        (400, {"json": {"text": TEXT, "policy": "share(r=0.5)"}}),
        (400, {"json": {"text": TEXT, "policy": "learned(path='/etc/passwd')"}}),
        (400, {"json": {"text": TEXT, "policy": "fixed(n=5000)"}}),
        (400, {"json": {"text": TEXT, "state_dtype": "fp8"}}),
        (400, {"json": {"text": TEXT, "tekst": "x"}}),
        (400, {"json": [1]}),
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}),
        (400, {"content": b'{"text": "\\ud800"}', "headers": {"content-type": "application/json"}}),
        (400, {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}),
        (415, {"content": TEXT.encode(), "headers": {"content-type": "text/plain"}}),
        (415, {"content": TEXT.encode()}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=y"}}),
        (400, {"data": {"file": "no file"}, "files": {"other": ("a.txt", b"x")}}),
        (400, {"files": [("file", ("a.txt", b"x")), ("file", ("b.txt", b"y"))]}),
        (400, {"files": {"file": ("a.txt", TEXT)}, "data": {"budget": "many"}}),
        (400, {"files": {"file": ("a.txt", TEXT)}, "data": {"keep_tokens": "perhaps"}}),
        (400, {"files": {"file": ("a.txt", TEXT)}, "data": {"budget": "9" * 5000}}),
        (400, {"files": {"file": ("a.txt", TEXT)}, "data": {"text": "another"}}),
        (400, {"files": {"file": ("a.pdf", b"%PDF-1.4 broken")}}),
        (400, {"files": {"file": ("a.txt", b"\xff\xfe\xfd")}}),
        (400, {"files": {"file": ("a.txt", b"")}}),
        (400, {"files": {"file": ("a.html", b"<script>1</script>")}}),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(http, quick, status, sent):
    before = len(list(quick.desk.store.folder.iterdir()))
    got = http.post("/v1/documents", **sent)
    assert got.status_code == status, got.text
    error = got.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert (
        error["message"].rstrip().endswith((".", "?"))
        and "\n" not in error["message"]
        and "passwd" not in error["message"].replace("path=/etc/passwd", "")
    )
    assert len(list(quick.desk.store.folder.iterdir())) == before
    assert http.get("/health").json()["status"] == "ok"


TRICKS = [
    "..",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/etc/passwd",
    "a" * 24,
    "a" * 24 + "-" + "b" * 16 + ".safetensors",
    "*",
    "%00",
    ".lock",
    "a" * 24 + "-" + "b" * 15 + "%0a",
    "A" * 24 + "-" + "B" * 16,
    "x" * 5000,
]


@pytest.mark.parametrize("id", TRICKS)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_no_id_is_a_path(http, quick, id, method):
    read = quick.read(TEXT)
    path = quick.desk.store.path(read["id"])
    got = http.request(method, f"/v1/documents/{id}")
    assert got.status_code in (404, 405) and set(got.json()["error"]) == {"message", "type", "param", "code"}
    assert path.is_file() and "root:" not in got.text


@pytest.mark.parametrize("id", [*TRICKS, ""])
def test_no_id_in_a_chat_is_a_path(http, id):
    got = chat(http, httpx.URL("http://x/" + id).path[1:] if "%" in id else id)
    assert got.status_code == 404 and got.json()["error"]["code"] == "document_not_found"


def test_the_beginning_of_an_id_is_no_id(http, quick):
    """As it is for the command; what another keeps must not be found by trying letters."""
    read = quick.read(TEXT)
    for part in (read["id"][:24], read["id"][:-1], read["id"][:1]):
        assert http.get(f"/v1/documents/{part}").status_code == 404 == http.delete(f"/v1/documents/{part}").status_code


def test_documents_are_listed_latest_first_and_removed(serving):
    with serving() as served, served.http() as http:
        ids = [served.read(f"{TEXT} {i}", name=f"{i}.txt")["id"] for i in range(3)]
        for place, id in enumerate(ids):
            import os

            os.utime(served.desk.store.path(id), (10**9 + place, 10**9 + place))
        assert [one["name"] for one in http.get("/v1/documents").json()["data"]] == ["2.txt", "1.txt", "0.txt"]
        some = http.get("/v1/documents", params={"limit": 2}).json()
        assert len(some["data"]) == 2 and some["has_more"]
        assert chat(http, ids[0]).status_code == 200
        assert http.delete(f"/v1/documents/{ids[0]}").json() == {
            "id": ids[0], "object": "document.deleted", "deleted": True,
        }  # fmt: skip
        assert chat(http, ids[0]).status_code == 404 == http.delete(f"/v1/documents/{ids[0]}").status_code
        assert len(http.get("/v1/documents").json()["data"]) == 2
        for limit in (0, -1, 10**6, "x"):
            assert http.get("/v1/documents", params={"limit": limit}).status_code == 400


def test_a_file_that_is_gone_or_broken_is_not_answered_from(serving):
    with serving() as served, served.http() as http:
        gone, broken = served.read(TEXT)["id"], served.read(TEXT + " More.")["id"]
        assert chat(http, gone).status_code == 200
        served.desk.store.rm([gone])  # as `reread store rm` would, beside the server
        assert chat(http, gone).status_code == 404
        path = served.desk.store.path(broken)
        data = bytearray(path.read_bytes())
        data[-20] ^= 1
        path.write_bytes(data)
        got = chat(http, broken)
        assert got.status_code == 409 and "checksum" in got.json()["error"]["message"]
        assert got.json()["error"]["code"] == "bad_state"
        assert http.get(f"/v1/documents/{broken}").status_code == 409
        assert served.read(TEXT + " More.")["id"] == broken and chat(http, broken).status_code == 200


def test_a_state_of_another_model_is_listed_and_not_answered_from(tiny, tiny_model, byte_tokenizer, tmp_path):
    other = LM("other", tiny_model(True, seed=1, vocab_size=256), byte_tokenizer)
    with running(other, tmp_path) as served:
        id = served.read(TEXT)["id"]
    with running(tiny, tmp_path) as served, served.http() as http:
        (one,) = http.get("/v1/documents").json()["data"]
        assert one["id"] == id and one["answerable"] is False and one["model"] == "other"
        got = chat(http, id)
        assert got.status_code == 409 and "another model" in got.json()["error"]["message"]


def test_what_the_command_reads_the_server_answers(served, tmp_path):
    """The same folder and the same files."""
    from reread.documents.loaders import read_source

    kept = served.desk.documents.keep(Store(served.desk.store.folder), read_source(str(CONTRACT)), strategy="once")
    got = served.openai().chat.completions.create(
        model="embedded",
        messages=[{"role": "user", "content": "Governing law"}],
        extra_body={"reread": {"document": kept.path.stem}},
    )
    assert got.choices[0].message.content == "England and Wales"


def test_a_full_disk_is_the_servers_trouble_and_passes(serving, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with serving() as served, served.http() as http:
        with monkeypatch.context() as broken:
            broken.setattr("reread.store.write_new", full)
            got = http.post("/v1/documents", json={"text": TEXT})
        assert got.status_code == 503 and got.json()["error"]["type"] == "server_error"
        assert "No space left" in got.json()["error"]["message"]
        assert served.read(TEXT)["id"]


def test_a_document_that_is_asked_again_is_the_last_to_go(tiny, tmp_path):
    with running(tiny, tmp_path) as served, served.http() as http:
        first, second = (served.read(f"{TEXT[:-1]}{i}") for i in range(2))
        assert chat(http, first["id"]).status_code == 200  # opened
        time.sleep(0.05)
        second = served.read(f"{TEXT[:-1]}1 and more")
        time.sleep(0.05)
        assert chat(http, first["id"]).status_code == 200  # kept open, and used now
        served.desk.store.limit = int(2.5 * first["file_bytes"])
        third = served.read(f"{TEXT[:-1]}3")
        found = {one["id"] for one in http.get("/v1/documents").json()["data"]}
        assert {first["id"], third["id"]} <= found and second["id"] not in found


def test_sessions_that_hold_too_much_are_closed_oldest_first(serving, monkeypatch):
    monkeypatch.setattr("reread.serve.desk.OPEN_BYTES", 1)
    with serving() as served, served.http() as http:
        ids = [served.read(f"{TEXT[:-1]}{i}")["id"] for i in range(2)]
        for id in (*ids, ids[0]):
            assert chat(http, id).status_code == 200
            assert list(served.desk._open) == [id]


def test_a_document_read_with_another_policy_is_not_answered_from(serving):
    with serving() as served, served.http() as http:
        id = served.read(TEXT)["id"]
        same = chat(http, id, reread={"document": id, "policy": "document"})
        other = chat(http, id, reread={"document": id, "policy": "none"})
        assert (same.status_code, other.status_code) == (200, 409)
        assert "policy; got 'none'" in other.json()["error"]["message"]


def test_a_store_with_a_limit_keeps_the_latest_used(tiny, tmp_path):
    with running(tiny, tmp_path) as served, served.http() as http:
        size = served.read(TEXT)["file_bytes"]
        served.desk.store.limit = 3 * size
        ids = [served.read(f"{TEXT[:-1]}{i}")["id"] for i in range(4)]
        found = {one["id"] for one in http.get("/v1/documents").json()["data"]}
        assert len(found) <= 3 and ids[-1] in found and ids[0] not in found
