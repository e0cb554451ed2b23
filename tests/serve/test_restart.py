"""The command as a process: killed and started again, stopped gently, refused where it must not start."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress

import httpx
import openai
import pytest
from local_server import CONTRACT
from raising import containing, refused

from reread.errors import BadInput, MissingPackage
from reread.serve import ServeConfig, serve
from reread.serve.running import run


@contextmanager
def process(store, model="embedded", **environment):
    """`reread serve` on a free port: the process and its address."""
    command = [sys.executable, "-m", "reread", "serve", model, "--port", "0", "--store", str(store), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as server:
        try:
            told = ""
            while not told.strip().endswith("}"):
                line = server.stdout.readline()
                assert line, server.stderr.read()
                told += line
            yield server, json.loads(told)["url"]
        finally:
            server.kill()


def ask(url, id, question="Governing law", **more):
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        messages = [{"role": "user", "content": question}]
        made = client.chat.completions.create(
            model="embedded", messages=messages, extra_body={"reread": {"document": id}}, **more
        )
        return made.choices[0].message.content


@pytest.mark.slow
def test_after_kill_9_the_documents_still_answer(tmp_path):
    with process(tmp_path) as (server, url):
        read = httpx.post(
            f"{url}/v1/documents", files={"file": ("contract.txt", CONTRACT.read_bytes())}, timeout=60
        ).json()
        before = ask(url, read["id"])
        # one more is being read when the server dies
        text = CONTRACT.read_text(encoding="utf-8") * 30

        def send():
            with suppress(httpx.HTTPError):
                httpx.post(f"{url}/v1/documents", json={"text": text, "budget": 8000}, timeout=60)

        sender = threading.Thread(target=send)
        sender.start()
        sender.join(0.3)
        os.kill(server.pid, signal.SIGKILL)
        server.wait(10)
        sender.join(30)
    with process(tmp_path) as (server, url):
        listed = httpx.get(f"{url}/v1/documents").json()["data"]
        assert read["id"] in {one["id"] for one in listed}
        assert ask(url, read["id"]) == before == "England and Wales"
        again = httpx.post(
            f"{url}/v1/documents", files={"file": ("contract.txt", CONTRACT.read_bytes())}, timeout=60
        ).json()
        assert again["already_there"] and again["id"] == read["id"]
        # gently: what is being written is written to the end, then the process is gone
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        stream = client.completions.create(model="embedded", prompt="Text.", max_tokens=60, stream=True)
        pieces = [next(iter(stream))]
        server.send_signal(signal.SIGTERM)
        pieces += list(stream)
        assert pieces[-1].choices[0].finish_reason in ("length", "stop")
        server.wait(20)
        assert "Traceback" not in server.stderr.read()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")


def command(*words, **environment):
    words = [sys.executable, "-m", "reread", "serve", *words]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})


def test_a_server_that_must_not_start_says_so_in_one_sentence():
    got = command("--host", "0.0.0.0")
    assert got.returncode == 2 and "0.0.0.0" in got.stderr and "REREAD_API_KEY" in got.stderr
    got = command(REREAD_API_KEY="short")
    assert got.returncode == 2 and "at least 16" in got.stderr and "short" not in got.stderr


def test_an_address_or_a_store_that_cannot_be_had_is_said_before_a_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with refused(BadInput, got=f"127.0.0.1:{port}"):
            run(ServeConfig(model="no such model", store=tmp_path, port=port), print)
    with refused(BadInput, got="203.0.113.5:8000"):
        run(ServeConfig(model="no such model", store=tmp_path, host="203.0.113.5", api_key="k" * 16), print)
    (tmp_path / "file").write_text("x")
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        with refused(BadInput, got=store, naming="store"):
            run(ServeConfig(model="no such model", store=store, port=0), print)


def test_without_its_packages_the_command_names_the_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with refused(MissingPackage, naming="uvicorn", todo=containing("reread[serve]")):
        serve(ServeConfig(), ready=print)


def test_importing_the_package_loads_no_server_and_no_torch():
    code = (
        "import sys, reread.serve, reread.cli; print([m for m in ('fastapi', 'uvicorn', 'torch') if m in sys.modules])"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert got.stdout.strip() == "[]", got.stderr
