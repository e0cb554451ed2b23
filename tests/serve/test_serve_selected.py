"""A server with a selection: documents and chats keep chosen keys, as `reread read` and `reread ask` do."""

import pytest
from local_server import running
from raising import refused

from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.serve.config import ServeConfig
from reread.serve.problems import Refused
from reread.serve.running import run
from reread.serve.ways import Ways

SELECT, OTHER = "reread(tokens=24)", "window(tokens=20)"
TEXT = "Applicant: Roche Diagnostics. Product code: DEW. Decided on the 3rd of May 2011 by the panel."


@pytest.fixture(scope="module")
def selecting(byte_llama, tmp_path_factory):
    with running(byte_llama, tmp_path_factory.mktemp("selecting"), select=SELECT) as one:
        yield one


def ask(served, question, document=None, **options):
    messages = [{"role": "user", "content": question}]
    if document is None:
        messages.insert(0, {"role": "system", "content": TEXT})
    else:
        options["document"] = document
    with served.http() as http:
        body = {"model": "byte_llama", "messages": messages, "max_tokens": 6, "reread": options}
        return http.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("select", [None, OTHER, "full"])
def test_documents_and_chats_are_answered_as_ask_answers(selecting, byte_llama, select):
    chosen = select or SELECT
    ways = {} if select is None else {"select": select}
    kept = selecting.read(TEXT, state_dtype="fp32", **ways)
    assert kept.get("selection", "full") == chosen
    for question in ("Product code", "Who decided?"):
        answer, _ = Reader(byte_llama).ask(TEXT, question, select=chosen, max_new_tokens=6)
        for reply in (ask(selecting, question, kept["id"], **ways), ask(selecting, question, **ways)):
            told = reply.json()
            assert reply.status_code == 200 and told["choices"][0]["message"]["content"] == answer.text, told
            assert told["usage"]["prompt_tokens"] == answer.prompt_tokens
            assert told["reread"].get("selection", "full") == chosen
            assert told["reread"].get("kept_positions") == answer.kept_positions
            assert told["reread"]["state_bytes"] == answer.state_bytes
        assert told["reread"]["read_tokens"] == answer.read_tokens
        assert told["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_selections_never_share_a_state_and_a_question_cannot_change_it(selecting):
    ids = {select: selecting.read(TEXT, select=select)["id"] for select in (SELECT, OTHER, "full")}
    assert len(set(ids.values())) == 3
    again = selecting.read(TEXT, select="reread(heads=global, tokens=24)")
    assert again["already_there"] and again["id"] == ids[SELECT] == selecting.read(TEXT)["id"]
    got = ask(selecting, "Product code", ids[SELECT], select=OTHER)
    assert got.status_code == 409 and SELECT in got.json()["error"]["message"]
    with selecting.http() as http:
        listed = {one["id"]: one.get("selection") for one in http.get("/v1/documents").json()["data"]}
    assert {id: listed[id] for id in ids.values()} == {ids[SELECT]: SELECT, ids[OTHER]: OTHER, ids["full"]: None}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "twice"}, "twice(cue=False)"),
        ({"select": "reread"}, "tokens or mib or share"),
        ({"select": "rereed(tokens=9)"}, "rereed"),
        ({"select": "reread(chunk=1, tokens=24)"}, "128 or more"),
        ({"select": "reread(levels=sentence, tokens=24)"}, "levels=document"),
    ],
)
def test_what_cannot_be_selected_is_a_400(selecting, options, words):
    got = ask(selecting, "Product code", **options)
    assert got.status_code == 400 and words in got.json()["error"]["message"], got.text
    with selecting.http() as http:
        got = http.post("/v1/documents", json={"text": TEXT, **options})
    assert got.status_code == 400 and words in got.json()["error"]["message"], got.text


def test_a_strategy_that_shows_the_question_can_still_be_had_with_all_keys(selecting):
    assert ask(selecting, "Product code", strategy="twice", select="full").status_code == 200


def test_a_plain_prompt_has_no_selection(selecting):
    with selecting.http() as http:
        body = {"model": "byte_llama", "prompt": TEXT, "max_tokens": 2}
        plain = http.post("/v1/completions", json=body)
        other = http.post("/v1/completions", json={**body, "reread": {"select": OTHER}})
    assert plain.status_code == 200 and "selection" not in plain.json()["reread"]
    assert other.status_code == 400 and "select" in other.json()["error"]["message"]


def test_an_empty_document_costs_no_other(selecting):
    with selecting.http() as http:
        got = http.post("/v1/documents", json={"text": " \n"})
    assert got.status_code == 400 and "no text" in got.json()["error"]["message"]
    assert ask(selecting, "Product code").status_code == 200


def test_models_with_a_fixed_state_are_refused(quick, tmp_path):
    with quick.http() as http:
        got = http.post("/v1/documents", json={"text": TEXT, "select": SELECT})
    assert got.status_code == 400 and "fixed size already" in got.json()["error"]["message"]
    with refused(BadInput, naming="fixed size already"):
        run(ServeConfig(model="small-causal", store=tmp_path, port=0, select=SELECT), print)


def test_a_selection_that_is_none_is_refused_before_a_model_is_loaded():
    with refused(UnknownName, got="rereed"):
        ServeConfig(select="rereed(tokens=9)").check()
    with refused(Refused, got="reread(tokens=9, times=2)", allowed="levels=document"):
        Ways(select="reread(tokens=9, times=2)").check()
    for select in ("reread(chunk=100, tokens=9)", "reread(read=100, tokens=9)", "window(read=100, tokens=9)"):
        with refused(Refused, got=100, allowed="128 or more"):
            Ways(select=select).check()
    Ways(select="reread(chunk=128, read=128, tokens=9)").check()


# what was forgotten -------------------------------------------------------------------------------------------------


def text_of(served, id):
    with served.http() as http:
        return http.get(f"/v1/documents/{id}/text")


def test_a_document_tells_its_text_and_what_its_state_lost(selecting):
    kept = selecting.read(TEXT)
    assert kept["forgotten"] == "sentence" and [len(one) for one in kept["lost"]] == [3, 3, 3]
    told = text_of(selecting, kept["id"]).json()
    assert told["text"] == TEXT and told["lost"] == kept["lost"] and told["limit"] == 1.0
    assert [TEXT[one["start"] : one["end"]].strip() for one in told["lost"]] == [
        "Applicant: Roche Diagnostics.", "Product code: DEW.", "Decided on the 3rd of May 2011 by the panel.",
    ]  # fmt: skip
    lines = selecting.read(TEXT, forgotten="line")
    assert lines["id"] != kept["id"] and len(lines["lost"]) == 1
    reply = ask(selecting, "Product code", kept["id"]).json()["reread"]
    assert isinstance(reply["forgotten"], float)
    for ways in ({"forgotten": "none"}, {"select": OTHER}, {"select": "full"}):
        plain = selecting.read(TEXT, **ways)
        told = text_of(selecting, plain["id"]).json()
        assert "lost" not in plain and "lost" not in told and told["text"] == TEXT
        assert "forgotten" not in ask(selecting, "Product code", plain["id"]).json()["reread"]


def test_a_lost_sentence_is_a_doubt(selecting, monkeypatch):
    monkeypatch.setattr("reread.forgotten.FORGOTTEN", -99.0)
    kept = selecting.read(TEXT, name="doubted.txt", state_dtype="int8")
    assert any("forgot" in doubt for doubt in ask(selecting, "Product code", kept["id"]).json()["reread"]["doubts"])
    assert not any("forgot" in doubt for doubt in ask(selecting, "Zebra", kept["id"]).json()["reread"]["doubts"])


def test_a_text_that_cannot_be_told_and_a_unit_that_is_none_are_refused(selecting):
    kept = selecting.read(TEXT, keep_tokens=False)
    got = text_of(selecting, kept["id"])
    assert got.status_code == 409 and "keep_tokens" in got.json()["error"]["message"]
    assert text_of(selecting, "0" * 24 + "-" + "0" * 16).status_code == 404 == text_of(selecting, "..").status_code
    with selecting.http() as http:
        for ways, words in (
            ({"forgotten": "word"}, "sentence"), ({"forgotten": "window(16)"}, "sentence"),
            ({"forgotten": "line", "select": "full"}, "keeps all keys"),
            ({"forgotten": "line", "select": "reread(read=128, tokens=24)"}, "pieces"),
        ):  # fmt: skip
            got = http.post("/v1/documents", json={"text": TEXT, **ways})
            assert got.status_code == 400 and words in got.json()["error"]["message"], got.text
