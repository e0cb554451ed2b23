"""Faults in the arguments of the command are found before a model is loaded, and leave nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reread import __main__ as entry
from reread import models
from reread.cli import app
from reread.errors import BadInput, BadState, MissingData, RereadError, UnknownName

ROOT = Path(__file__).parents[2]


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    def load_weights(folder):
        raise AssertionError(f"the weights of {folder} are loaded")

    monkeypatch.setattr(models, "load_weights", load_weights)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Names of what is there: {doc}, {fields}, {store}, {state}, {file}; and of what is not: {none}, {out}."""
    monkeypatch.chdir(tmp_path)
    given = tmp_path / "given"
    (given / "store").mkdir(parents=True)
    for name, text in {
        "doc.txt": "Colour: red.\n",
        "fields.json": '["Colour"]',
        "bad.json": "[{}]",
        "file": "x",
        "state": "x",
        "train.toml": 'out = "run"\nstages = [{steps=1, tokens=64, rows=1}]\n',
    }.items():
        (given / name).write_text(text)
    return {
        "doc": given / "doc.txt", "fields": given / "fields.json", "bad": given / "bad.json", "file": given / "file",
        "store": given / "store", "state": given / "state", "none": given / "none", "out": tmp_path / "out",
        "train": given / "train.toml", "tiny": "embedded",
    }  # fmt: skip


def error_of(line, places):
    """The error that the command raises; words are split at blanks, and {names} are of `places`."""
    words = [word.format(**places) for word in line.split()]
    with pytest.raises(RereadError) as raised:
        app([word.replace("~", " ") for word in words], standalone_mode=False)
    return raised.value


ASK = "ask {doc} Colour"
EXTRACT = "extract {doc} --fields {fields} --out {out}.csv"
# line, class, got (None: not compared).  "~" is a blank.  All of these need neither torch nor transformers.
WITHOUT_TORCH = [
    ("ask {doc} ~", BadInput, None),
    (f"{ASK} --budget 0", BadInput, 0),
    (f"{ASK} --strategy twise", UnknownName, "twise"),
    (f"{ASK} --strategy selective(unit=sentense)", UnknownName, "sentense"),
    (f"{ASK} --strategy selective(by='learned(none.json)')", BadInput, None),
    (f"{ASK} --policy halff", UnknownName, "halff"),
    (f"{ASK} --policy share(r=2.0)", BadInput, 2.0),
    (f"{ASK} --policy document --prefill left_pad", BadInput, "document"),
    (f"{ASK} --prefill right_pad", UnknownName, "right_pad"),
    (f"{ASK} --window tail", UnknownName, "tail"),
    (f"{ASK} --model embeded", UnknownName, "embeded"),
    (f"{ASK} --model {{store}}", models.BadCheckpoint, None),
    ("ask {none} Colour", BadInput, None),
    ("ask {doc}", BadInput, None),
    ("ask --state {none} Colour", BadInput, None),
    ("ask --state {state} ~", BadInput, None),
    ("ask --state {state} Colour --budget 9", BadState, None),
    ("ask --state {state} Colour --policy halff", UnknownName, "halff"),
    ("ask --state {state} Colour --model embeded", UnknownName, "embeded"),
    ("prompt {doc} ~", BadInput, None),
    ("prompt {doc} Colour --policy halff", UnknownName, "halff"),
    ("demo --model embeded", UnknownName, "embeded"),
    ("read {doc} --out {file}", BadInput, None),
    ("read {doc} --out {file}/below", BadInput, None),
    ("read {doc} --out {out} --budget 0", BadInput, 0),
    ("read {doc} --out {out} --limit-mib 0", BadInput, 0),
    ("read {doc} --out {out} --strategy question_first", BadInput, None),
    ("read {doc} --out {out} --policy prompt", BadInput, "prompt"),
    ("read {doc} --out {out} --state-dtype fp8", UnknownName, "fp8"),
    ("read {doc} --out {out} --model embeded", UnknownName, "embeded"),
    ("read {none} --out {out}", BadInput, None),
    ("read {doc} --out {out} --seconds-per-document 0", BadInput, 0.0),
    (f"{EXTRACT} --budget 0", BadInput, 0),
    (f"{EXTRACT} --batch 0", BadInput, 0),
    (f"{EXTRACT} --policy prompt", BadInput, "prompt"),
    (f"{EXTRACT} --reading al", UnknownName, "al"),
    (f"{EXTRACT} --threshold 2", BadInput, "2"),
    (f"{EXTRACT} --threshold {{none}}", BadInput, None),
    (f"{EXTRACT} --model embeded", UnknownName, "embeded"),
    (f"{EXTRACT} --engine rai", UnknownName, "rai"),
    (f"{EXTRACT} --workers 2", BadInput, "process"),
    ("extract {none} --fields {fields} --out {out}.csv", BadInput, None),
    ("extract - --fields {fields} --out {out}.csv", BadInput, "-"),
    ("extract {doc} --fields {none} --out {out}.csv", BadInput, None),
    ("extract {doc} --fields {bad} --out {out}.csv", BadInput, None),
    ("extract {doc} --fields {fields} --out {out}.xls", BadInput, None),
    ("extract {doc} --fields {fields} --out {out}/x.csv", BadInput, None),
    ("store ls {none}", BadInput, None),
    ("store rm {none} x", BadInput, None),
    ("store ask {none} Colour", BadInput, None),
    ("store ask {store} ~", BadInput, None),
    ("store ask {store} Colour --batch 0", BadInput, 0),
    ("store ask {store} Colour --model embeded", UnknownName, "embeded"),
    ("store verify {none}", BadInput, None),
    ("store verify {store} --level canarie", UnknownName, "canarie"),
    ("store verify {store} --model embeded", UnknownName, "embeded"),
    ("eval --task forms-9 --out {out}", UnknownName, "forms-9"),
    ("eval --task forms-8 --model embeded --out {out}", UnknownName, "embeded"),
    ("eval --task forms-8 --strategy twise --out {out}", UnknownName, "twise"),
    ("eval --task forms-8 --policy halff --out {out}", UnknownName, "halff"),
    ("eval --task forms-8 --limit -1 --out {out}", BadInput, -1),
    ("eval --task forms-8 --set budgets=[0] --out {out}", BadInput, (0,)),
    ("eval --task forms-8 --set prefill=pad --out {out}", UnknownName, "pad"),
    ("eval --task forms-8 --out {file}", BadInput, None),
    ("eval --task fda --data {none} --out {out}", MissingData, None),
    ("eval --recipe {none}", BadInput, None),
    ("perplexity --model embeded --data {store} --out {out}", UnknownName, "embeded"),
    ("perplexity --set window=0 --data {store} --out {out}", BadInput, 0),
    ("lm-eval --task reread_fda_thrice", UnknownName, "reread_fda_thrice"),
    ("lm-eval --limit -1", BadInput, -1),
    ("lm-eval --tokens -1", BadInput, -1),
    ("lm-eval --data {none}", MissingData, None),
    ("lm-eval --model embeded", UnknownName, "embeded"),
    ("bench mode", UnknownName, "mode"),
    ("bench model --out {file}", BadInput, None),
    ("bench ask --set tokens --out {out}", BadInput, "tokens"),
    ("check", BadInput, None),
    ("check --model embeded", UnknownName, "embeded"),
    ("check --model embedded --all", BadInput, "--all"),
    ("serve --port 65536", BadInput, 65536),
    ("serve --port -1", BadInput, -1),
    ("serve --host 192.0.2.1", BadInput, None),
    ("serve embeded", UnknownName, "embeded"),
    ("serve --store {file}", BadInput, None),
    ("serve --queue -1", BadInput, -1),
    ("serve --limit-mib 0", BadInput, 0),
    ("convert {none} {out}", UnknownName, None),
    ("convert embedded {store}", BadInput, None),
    ("fit-emphasis {out}.json --task forms-9", UnknownName, "forms-9"),
    ("fit-emphasis {out}.json --task forms-8 --unit word", UnknownName, "word"),
    ("fit-emphasis {store} --task forms-8", BadInput, None),
    ("prefix-thresholds --quantiles 2", BadInput, "2"),
    ("prefix-thresholds --of words", UnknownName, "words"),
    ("prefix-thresholds --model embeded", UnknownName, "embeded"),
    ("tokenizer {store}", BadInput, None),
    ("train {none}", BadInput, None),
    ("experiment {none}", BadInput, None),
]
WITH_TORCH = [
    ("bench prefix --set policies=[\"halff\"] --out {out}", UnknownName, "halff"),
    ("bench prefix --set model=embeded --out {out}", UnknownName, "embeded"),
    ("bench model --set models=[\"embeded\"] --out {out}", UnknownName, "embeded"),
    ("bench ask --set model=embeded --set document=given/doc.txt --out {out}", UnknownName, "embeded"),
    ("bench ask --set tokens=[0] --out {out}", BadInput, (0,)),
    ("bench ask --set document=given/none --out {out}", BadInput, None),
    ("state-sizes --set tasks=[\"forms-8\"] --set dtypes=[\"fp8\"] --out {out}", UnknownName, "fp8"),
    ("state-sizes --set tasks=[\"forms-8\"] --set model=embeded --out {out}", UnknownName, "embeded"),
    ("state-sizes --set tasks=[\"forms-8\"] --out {file}", BadInput, None),
    ("extract-bench fields --set task=forms-8 --set model=embeded --out {out}", UnknownName, "embeded"),
    ("extract-bench confidence --set task=forms-8 --out {file}", BadInput, None),
    ("reader-bench --set sets=office --out {out}", UnknownName, "office"),
    ("reader-bench --model embeded --out {out}", UnknownName, "embeded"),
    ("reader-bench --model regex --set tokenizer=embedded --set sets=office-dev --out {file}", BadInput, None),
    ("select-bench --set selections=rereed --out {out}", UnknownName, "rereed"),
    ("select-bench --model embeded --out {out}", UnknownName, "embeded"),
    ("fit-threshold {out}.json --task forms-8 --model embeded --run {out}", UnknownName, "embeded"),
    ("fit-threshold {store} --task forms-8 --run {out}", BadInput, None),
    ("fit-prefix {out}.json --task forms-8 --budget 0", BadInput, 0),
    ("fit-prefix {out}.json --task forms-8 --model embeded", UnknownName, "embeded"),
    ("fit-prefix {out}.json --task forms-9", UnknownName, "forms-9"),
    ("fit-prefix {out}.json --task forms-8 --set method=q", UnknownName, "q"),
    ("--device cudaa ask {doc} Colour", BadInput, "cudaa"),
    ("--device cudaa eval --task forms-8 --out {out}", BadInput, "cudaa"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind", "got"), [*WITHOUT_TORCH, *WITH_TORCH])
def test_a_fault_of_the_arguments_is_found_before_a_model_is_loaded(line, kind, got, places, nothing_is_loaded):
    before = sorted(Path().rglob("*"))
    error = error_of(line, places)
    assert type(error) is kind, error
    assert got is None or error.got == got, error
    assert str(error).count("\n") == 0
    assert sorted(Path().rglob("*")) == before, "something was left behind"


@pytest.mark.slow
def test_most_faults_are_found_without_torch(places):
    """In a process in which torch and transformers cannot be imported, every line ends with its own error."""
    code = """
import sys
class Refused:
    def find_spec(self, name, *_):
        if name in ("torch", "transformers"):
            raise AssertionError(name + " is imported")
sys.meta_path.insert(0, Refused())
from reread.cli import app
from reread.errors import RereadError
for line in sys.stdin.read().splitlines():
    try:
        app([word.replace("~", " ") for word in line.split()], standalone_mode=False)
    except RereadError as error:
        print(type(error).__name__)
    except BaseException as error:
        print(repr(error))
"""
    lines = [line.format(**places) for line, _, _ in WITHOUT_TORCH]
    run = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(lines), capture_output=True, text=True, timeout=240
    )
    found = list(zip(lines, run.stdout.splitlines(), strict=True))
    wrong = [pair for pair, (_, kind, _) in zip(found, WITHOUT_TORCH, strict=True) if pair[1] != kind.__name__]
    assert not wrong, wrong


def test_a_port_in_use_is_found_before_a_model_is_loaded(places, nothing_is_loaded):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = error_of(f"serve --port {port} --store {places['out']}", places)
    assert type(error) is BadInput and error.got == f"127.0.0.1:{port}"
    assert not places["out"].exists()


def test_an_address_that_another_server_has_begun_to_take_is_refused():
    from reread.serve import ServeConfig
    from reread.serve.listening import bound

    with bound(ServeConfig(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(BadInput) as raised:
            bound(ServeConfig(port=port))
        assert raised.value.got == f"127.0.0.1:{port}"
    bound(ServeConfig(port=port)).close()  # free again at once


def test_a_run_of_other_settings_is_refused_before_a_model_is_loaded(tmp_path, places, nothing_is_loaded):
    from reread.runlog import Run

    with Run.start(tmp_path / "run", "eval", {"limit": 3, "fingerprints": {}}, resume=True) as run:
        run.append({"a": 1})
    error = error_of("eval --task forms-8 --limit 4 --out run", places)
    assert type(error) is BadInput and "run" in str(error.got)
    error = error_of("perplexity --data given --out run", places)
    assert type(error) is BadInput and error.allowed == "perplexity"


# what is set over the recipe {train}, class, got, and whether it is found without torch
RECIPES = [
    ("stages=[]", BadInput, None, True),
    ("stages=[{steps=0, tokens=64, rows=1}]", BadInput, None, True),
    ("stages=[{steps=1, tokens=64, rows=1, mix={tabel=1.0}}]", UnknownName, "tabel", True),
    (
        "stages=[{steps=1, tokens=64, rows=1}, {steps=1, tokens=16, rows=1, mix={spans=1.0}}]",
        BadInput,
        "16 tokens",
        True,
    ),
    ("stages=[{steps=1, tokens=1, rows=1, mix={text=1.0}}]", BadInput, "1 tokens", True),
    ("stages=[{steps=1, tokens=4, rows=1, mix={forms=1.0}}]", BadInput, "4 tokens", False),
    ("data.mix={tabel=1.0}", UnknownName, "tabel", True),
    ("data.layouts={twise=1.0}", UnknownName, "twise", True),
    ("data.policies={halff=1.0}", UnknownName, "halff", True),
    ("data.mask_rate=2.0", BadInput, 2.0, True),
    ("data.set_aside=0", BadInput, 0, True),
    ("optim.learning_rate=-1.0", BadInput, -1.0, True),
    ("optim.beta2=1.0", BadInput, 1.0, True),
    ("optim.final_share=1.5", BadInput, 1.5, True),
    ("optim.learning_rat=1.0", UnknownName, "learning_rat", True),
    ("masked_weight=-1.0", BadInput, -1.0, True),
    ("seed=-1", BadInput, -1, True),
    ("seed=4294967296", BadInput, 4294967296, True),
    ("save_steps=0", BadInput, 0, True),
    ("start=embeded", UnknownName, "embeded", True),
    ("tokenizer=none", BadInput, "none", True),
    ("out=given/file", BadInput, None, True),
    ("model.max_prefix=32", BadInput, "64 tokens", True),
    ("model.hidden_siz=8", UnknownName, "hidden_siz", False),
    ("model.mixers=['linnear']", UnknownName, "linnear", False),
    ("model.feature_map=tailor", UnknownName, "tailor", False),
    ("model.vocab_size=100", BadInput, "vocab_size 100", False),
    ("model.hidden_size=7", BadInput, "7 and 4", False),
]


@pytest.mark.parametrize(("setting", "kind", "got", "without_torch"), RECIPES)
def test_a_recipe_is_checked_before_the_first_step_and_leaves_no_folder(
    setting, kind, got, without_torch, places, data, monkeypatch
):
    from reread.training import trainer

    def build_rows(*_):
        raise AssertionError("data is read")

    monkeypatch.setattr(trainer, "build_rows", build_rows)
    if without_torch:
        monkeypatch.setattr(trainer, "train", build_rows)
    before = sorted(Path().rglob("*"))
    with pytest.raises(RereadError) as raised:
        app(["train", str(places["train"]), "--data", str(data), "--set", setting], standalone_mode=False)
    assert type(raised.value) is kind and got in (None, raised.value.got), raised.value
    assert sorted(Path().rglob("*")) == before


@pytest.fixture
def data(tmp_path):
    """A data folder whose files are there and are empty."""
    from reread.training.episodes import TABLE, TEXTS, question_files

    folder = tmp_path / "data"
    files = [folder / "text" / f"{name}.jsonl.xz" for name in (*TEXTS, "fda510k-00")]
    files += [folder / TABLE, folder / "fda_510k" / "train_docs.jsonl.xz", *question_files(folder)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


@pytest.mark.parametrize("file", ["text/wiki-00.jsonl.xz", "fda_510k/train_docs.jsonl.xz"])
def test_a_data_file_that_a_source_needs_is_missed_at_once(file, places, data):
    (data / file).unlink()
    error = error_of(f"train {{train}} --data {data}", places)
    assert type(error) is MissingData and error.got == str(data / file) and not Path("run").exists()
    with pytest.raises(RereadError) as raised:  # and not where nothing is drawn from it
        app(
            ["train", str(places["train"]), "--data", str(data), "--set", "data.mix={questions=1.0}"],
            standalone_mode=False,
        )
    assert type(raised.value) is BadInput and not Path("run").exists()


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, before)


class Ended(BaseException):
    """In the place of the end of the process."""


def test_an_interrupt_during_an_import_ends_the_process_and_any_other_raises(handler, tmp_path, monkeypatch):
    def end(number=0, frame=None):
        raise Ended

    monkeypatch.setattr(entry, "end_now", end)
    assert entry.watch()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    library = "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt:\n    pass\n"
    (tmp_path / "library_that_catches.py").write_text(library)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Ended):
        import library_that_catches  # noqa: F401


class Finalised:
    def __init__(self, ending):
        self.ending = ending

    def __del__(self):
        self.ending()


def test_an_interrupt_during_a_finaliser_is_sent_again(handler, capsys):
    assert entry.watch()
    with pytest.raises(KeyboardInterrupt):
        Finalised(lambda: signal.raise_signal(signal.SIGINT))
        for _ in range(1000):
            time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_other_exceptions_of_a_finaliser_are_still_shown(handler, capsys):
    assert entry.watch()
    Finalised(lambda: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_interrupt_that_is_ignored_stays_ignored(handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert not entry.watch() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_an_interrupted_command_is_exit_code_130(handler, monkeypatch):
    monkeypatch.setattr("reread.cli.main", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 130


def test_importing_the_entry_point_imports_nothing_of_the_package():
    code = "import sys, reread.__main__; print(*(name for name in sys.modules if name.startswith('reread')))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["reread", "reread.__main__"]


def interrupted(after, *words):
    """A command that got SIGINT so many seconds after its start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reread", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    process.communicate_result = process.communicate(timeout=120)
    return process.returncode, process.communicate_result[1]


@pytest.mark.slow
def test_ctrl_c_is_130_without_a_traceback_whenever_it_comes(places):
    seen = []
    for step in range(41):
        code, said = interrupted(step / 20, "ask", places["doc"], "Colour")
        seen.append(code)
        if "reread" not in said and ("site" in said or code == -signal.SIGINT):
            continue  # the interpreter had not begun with the module, and nothing can be handled then
        assert code in (130, 0) and "Traceback" not in said and said.count("\n") <= 1, (step, code, said)
    assert seen.count(130) > 20, seen
