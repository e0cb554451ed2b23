"""The command as a person meets it: exit codes, what it prints, one sentence for a mistake.

Most tests run it in their own process (`reread`), which loads torch once; `process` starts one.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from in_process import complained, reread

from reread import __main__ as entry
from reread.cli import help_markdown
from reread.cli.settings import settings_markdown

ROOT = Path(__file__).parents[2]
TEXT = "A. Applicant: Roche Diagnostics\nB. Product code: DEW\n"


def process(*words):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "reread", *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "document.txt"
    path.write_text(TEXT)
    return path


def test_prompt_prints_the_prompt_and_nothing_else(document):
    result = process("prompt", document, "applicant", "--strategy", "twice")
    copy = TEXT.strip()
    assert result.stdout == f"Information about Applicant.\n{copy}\n{copy}\nApplicant:\n"
    assert result.stderr == ""


def test_prompt_json_spans_tile_the_tokens(document):
    value = json.loads(reread("prompt", document, "Who applied?", "--strategy", "question_first", "--json").stdout)
    assert [s["role"] for s in value["spans"]] == ["cue", "document", "question"]
    edges = [(s["start"], s["end"]) for s in value["spans"]]
    assert edges[0][0] == 0 and edges[-1][1] == value["tokens"] == value["prefix_len"]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))


def test_ask_answers_from_a_file_and_from_standard_input(document):
    from_file = reread("ask", document, "Applicant", "--json")
    from_stdin = reread("ask", "-", "Applicant", "--json", text=TEXT)
    value, other = json.loads(from_file.stdout), json.loads(from_stdin.stdout)
    assert value["text"] == other["text"]
    assert value["state_bytes"] > 0 and value["prompt_tokens"] > 10 and value["read_seconds"] > 0


def test_a_long_document_is_cut_and_said_so(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("word " * 500)
    result = reread("ask", path, "Applicant", "--budget", "60")
    assert result.returncode == 0
    assert "'head' kept 60" in result.stderr


def test_empty_binary_missing_and_folder_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.bin").write_bytes(b"abc\x00\x01def")
    (tmp_path / "latin.txt").write_bytes("größe".encode("latin-1"))
    complained(reread("prompt", tmp_path / "empty.txt", "x"), "empty.txt", "no text")
    complained(reread("prompt", tmp_path / "binary.bin", "x"), "binary.bin", "binary file")
    complained(reread("prompt", tmp_path / "latin.txt", "x"), "latin.txt", "UTF-8")
    for command in (reread, process):
        complained(command("prompt", tmp_path / "none.txt", "x"), tmp_path / "none.txt")
    complained(reread("prompt", tmp_path, "x"), tmp_path, "not a file")


def test_unknown_names_give_the_known_ones_and_the_nearest(document, tmp_path):
    complained(reread("ask", document, "x", "--strategy", "twise"), "'twise'", "'twice'", "question_first")
    complained(reread("ask", document, "x", "--model", "embeded"), "'embeded'", "'embedded'")
    complained(reread("prompt", document, "x", "--window", "heat", "--budget", "2"), "'heat'", "'head'")
    complained(reread("eval", "--task", "fdaa", "--out", tmp_path / "r"), "'fdaa'", "'fda'")


def test_a_missing_data_folder_is_refused_and_leaves_nothing(tmp_path):
    out = tmp_path / "run"
    complained(reread("eval", "--out", out, env={"REREAD_DATA": ""}), "--data")
    complained(reread("eval", "--data", tmp_path / "none", "--out", out), tmp_path / "none")
    assert not out.exists()


def test_a_bad_recipe_is_refused(tmp_path):
    complained(reread("train", tmp_path / "none.toml"), tmp_path / "none.toml")
    (tmp_path / "r.toml").write_text("outt = 3\n")
    complained(reread("train", tmp_path / "r.toml"), "'out'")


def test_report_of_no_run_is_refused(tmp_path):
    complained(reread("report", tmp_path), tmp_path, "header.json")


def test_report_writes_three_files_says_where_and_merges(tmp_path):
    out, runs = tmp_path / "out", (ROOT / "results" / "cpu" / "op", ROOT / "results" / "prefix_document")
    done = reread("report", *runs, "--out", out)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.splitlines() == [str(out / name) for name in ("report.md", "report.tex", "report.html")]
    assert reread("report", *runs).stdout.rstrip() == (out / "report.md").read_text().rstrip()
    assert json.loads(reread("report", *runs, "--out", out, "--json").stdout)["files"] == done.stdout.splitlines()
    assert json.loads(reread("report", *runs, "--json").stdout)["cells"][0]["n"] == 500


def test_report_compares_prefixes_and_refuses_what_is_no_run_and_a_file_for_a_folder(tmp_path, document):
    runs = [ROOT / "results" / name for name in ("first_light", "prefix_document")]
    merged = reread("report", *runs)
    assert merged.returncode == 0 and "| document - prompt |" in merged.stdout, merged.stderr
    complained(reread("report", runs[0], tmp_path), tmp_path, "header.json")
    complained(reread("report", runs[1], "--out", document), document)
    complained(reread("report", ROOT / "results" / "small_jrt"), "got 'train", "eval, bench")


def test_eval_and_report_print_the_same_table_and_numbers(tmp_path):
    out = tmp_path / "run"
    words = ("eval", "--task", "forms-8", "--strategy", "once", "--limit", "4", "--out", out)
    first = reread(*words, env={"REREAD_DATA": ""})
    assert first.returncode == 0, first.stderr
    assert "| embedded | forms-8 | once | answer_centered | 512 | field | 4 |" in first.stdout
    assert reread("report", out).stdout == first.stdout
    again = json.loads(reread(*words, "--json").stdout)
    assert again == json.loads(reread("report", out, "--json").stdout)
    assert again["cells"][0]["contains"].keys() == {"mean", "low", "high"}


def test_ctrl_c_while_the_command_is_being_loaded_is_no_traceback(monkeypatch):
    class Interrupted:
        def find_spec(self, name, *_):
            if name == "reread.cli":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "reread.cli", raising=False)
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 130


def test_a_recipe_of_experiments_given_to_train_names_the_command():
    recipe = ROOT / "recipes" / "small_lm.toml"
    complained(reread("train", recipe), "reread experiment", f"got '{recipe}'")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_or_killed_evaluation_keeps_its_rows_and_goes_on(tmp_path, how):
    out = tmp_path / "run"
    words = ["eval", "--task", "forms-8", "--strategy", "once", "--limit", "120", "--set", "batch=1", "--out", str(out)]
    child = subprocess.Popen(
        [sys.executable, "-m", "reread", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    until = time.monotonic() + 60
    while time.monotonic() < until and not ((out / "rows.jsonl").exists() and (out / "rows.jsonl").stat().st_size):
        time.sleep(0.05)
    child.send_signal(how)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == (130 if how == signal.SIGINT else -how) and "Traceback" not in errors
    kept = (out / "rows.jsonl").read_text().split("\n")[:-1]  # a kill may tear the last line
    assert kept and not (out / "done.json").exists()
    complained(reread("report", out), out, "done.json")
    assert reread(*words).returncode == 0
    rows = (out / "rows.jsonl").read_text().splitlines()
    assert rows[: len(kept)] == kept and len(rows) == len({json.loads(row)["id"] for row in rows}) == 120


def test_a_bad_checkpoint_is_refused(document, tmp_path):
    (tmp_path / "m").mkdir()
    complained(reread("ask", document, "x", "--model", tmp_path / "m"), tmp_path / "m", "config.json")
    (tmp_path / "m" / "config.json").write_text("{}")
    complained(reread("ask", document, "x", "--model", tmp_path / "m"), "model_type", "allowed: reread_prefix_lm")
    (tmp_path / "m" / "config.json").write_text('{"model_type": "mamba2"}')
    complained(reread("ask", document, "x", "--model", tmp_path / "m"), "transformers", tmp_path / "m")


def test_convert_and_check_do_what_they_say(tmp_path, tiny_model):
    tiny_model(max_prefix=8).save_pretrained(tmp_path / "ours")
    done = reread("convert", tmp_path / "ours", tmp_path / "theirs")
    assert done.returncode == 0 and "reread -> published layout" in done.stdout, done.stderr
    complained(reread("convert", tmp_path / "ours", tmp_path / "theirs"), tmp_path / "theirs")
    checked = reread("check", "--model", tmp_path / "theirs", "--json")
    (findings,) = json.loads(checked.stdout).values()
    assert checked.returncode == 0 and len(findings) == 6 and all(f["right"] for f in findings.values())
    complained(reread("check"), "--families")


@pytest.mark.slow
def test_bench_prints_its_table(tmp_path):
    words = (
        "bench",
        "op",
        "--set",
        "sizes=[32]",
        "--set",
        'dtypes=["float32"]',
        "--set",
        "rounds=1",
        "--set",
        "heads=2",
    )
    done = reread(*words, "--out", tmp_path / "run")
    assert done.returncode == 0 and "| op | float32 | 32 | linear | 1 |" in done.stdout, done.stderr
    assert reread("report", tmp_path / "run").stdout == done.stdout
    complained(reread("bench", "opp"), "'opp'", "'op'")


def test_a_window_that_needs_the_answer_is_refused_where_nobody_knows_it(document):
    for verb in ("ask", "prompt"):
        complained(reread(verb, document, "x", "--window", "answer_centered", "--budget", "4"), "--window head")


def test_a_run_folder_that_is_a_file_is_refused(document):
    complained(reread("eval", "--task", "forms-8", "--limit", "1", "--out", document), document)


def test_tasks_that_need_no_file_are_measured_without_a_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("REREAD_DATA", raising=False)
    small = ["--set", "limit=2", "--set", "budget=64", "--out", tmp_path / "run"]
    done = reread("state-sizes", *small, "--set", 'tasks=["forms-8"]', "--set", 'dtypes=["fp32"]')
    assert done.returncode == 0, done.stderr
    complained(reread("state-sizes", *small, "--set", 'tasks=["fda"]'), "--data", "REREAD_DATA")


def test_the_version_is_printed():
    assert reread("--version").stdout == f"reread {version('reread')}\n"


@pytest.mark.slow
def test_the_help_in_docs_is_current():
    assert (ROOT / "docs" / "cli.md").read_text() == help_markdown()
    assert (ROOT / "docs" / "settings.md").read_text() == settings_markdown()


def test_importing_the_package_and_the_command_costs_no_torch():
    code = "import sys, reread, reread.cli; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_published_prompt_is_printed_exactly_and_nothing_else(tmp_path):
    page = tmp_path / "page.txt"
    page.write_text("Volt. Top speed: 120 mph. " + "More text. " * 2000)
    done = reread("prompt", page, "top speed", "--template", "published/swde", "--strategy", "twice")
    text = page.read_text().strip().strip(".")
    assert done.stdout == f"Information about Top speed. {text}.\n{text}. Top speed:" and not done.stderr
    short = reread("prompt", page, "top speed", "--template", "published/swde", "--budget", "9", "--json")
    facts = json.loads(short.stdout)
    assert facts["prefix_len"] == facts["tokens"] < 20 < facts["dropped_tokens"]
    asked = ("prompt", page, "It was", "--template", "published/nq", "--strategy", "twice")
    complained(reread(*asked), "--original-question")
    assert reread(*asked, "--original-question", "What?").stdout.startswith("What? Volt.")
    complained(reread("prompt", page, "x", "--template", "published/nqq"), "'published/nqq'", "'published/nq'")
    complained(reread("prompt", page, "x", "--budget", "0"), "budget", "got 0")


def test_strategies_with_settings_are_understood(document):
    done = reread("prompt", document, "applicant", "--strategy", "selective(k=1, unit=line)")
    assert done.returncode == 0 and done.stdout.count("Applicant") >= 2
    complained(reread("prompt", document, "x", "--strategy", "repeat(k=1)"), "repeat", "got 'k'", "allowed: cue, n")
    asks_a_model = "selective(k=1, unit=line, by=entropy)"
    complained(reread("prompt", document, "x", "--strategy", asks_a_model), "entropy", "bm25")
    assert reread("ask", document, "applicant", "--strategy", asks_a_model).returncode == 0


def test_emphasis_is_fitted_and_used(document, tmp_path):
    file = tmp_path / "weights.json"
    done = reread("fit-emphasis", file, "--task", "forms-8", "--unit", "line", "--limit", "6", env={"REREAD_DATA": ""})
    assert done.returncode == 0 and "BM25 alone: " in done.stdout, done.stderr
    used = reread("prompt", document, "applicant", "--strategy", f"selective(k=1, unit=line, by='learned({file})')")
    assert used.returncode == 0, used.stderr
    complained(reread("fit-emphasis", file, "--task", "forms-9"), "'forms-9'", "'forms-8'")


def test_commas_inside_brackets_and_quotes_belong_to_a_name():
    from reread.cli import names

    text = "once, selective(k=2, unit=line),oprm(by='learned(a,b.json)', k=1)"
    assert names(text) == ("once", "selective(k=2, unit=line)", "oprm(by='learned(a,b.json)', k=1)")
    assert names("") == ()
    complained(reread("prompt", "x" * 400, "y"), "x" * 60)


def test_prefix_policies_are_asked_for_fitted_and_used(document, tmp_path):
    facts = json.loads(reread("prompt", document, "Colour", "--policy", "share(r=0.5)", "--json").stdout)
    assert facts["policy"] == "share(r=0.5)" and 0 < facts["prefix_len"] < facts["tokens"]
    complained(
        reread("prompt", document, "Colour", "--policy", "entropy(of=model)", "--json"),
        "entropy(of=model)",
        "of=unigram",
    )
    complained(reread("ask", document, "Colour", "--policy", "halff"), "policy", "got 'halff'")
    told = reread("prefix-thresholds", "--task", "forms-8-aside", "--limit", 8, "--quantiles", "0.5")
    assert told.returncode == 0 and "entropy(of=unigram, thresholds=0." in told.stdout, told.stderr
    complained(reread("prefix-thresholds", "--quantiles", "half"), "quantiles", "half")
    out, few = tmp_path / "policy.json", ("--set", 'actions=["none","prompt"]', "--set", "steps=20")
    done = reread("fit-prefix", out, "--task", "forms-8-aside", "--limit", 6, *few)
    assert done.returncode == 0 and "| oracle |" in done.stdout, done.stderr
    answer = reread("ask", document, "Colour", "--policy", f"learned(path='{out}')", "--json")
    assert answer.returncode == 0 and json.loads(answer.stdout)["prefix_len"] >= 0, answer.stderr
    complained(reread("fit-prefix", out, "--set", "method=q"), "method", "got 'q'")
