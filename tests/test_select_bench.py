"""select-bench: rows as of separate readings, resume after a stop, refusals, and the figures of the report."""

import json
from pathlib import Path

import pytest
import torch
from in_process import complained, reread
from marks import needs_reader
from raising import containing, refused

from reread.config import build, read_toml, to_dict
from reread.engine import Reader
from reread.errors import BadInput, UnknownName
from reread.forgotten import Near, lost_near
from reread.models import load
from reread.models.families import TINY
from reread.models.kv_scores import plain_reading
from reread.models.kv_selection import with_budget
from reread.reader_sets import SETS, Document, Question, ReaderSet
from reread.report import report, tables
from reread.report.selections import SELECTION_FIELDS, TOGETHER, scored, warning_lines
from reread.runlog import Run
from reread.select_bench import SelectBench, SelectSampling, fit_thresholds, measure_selections

ROOT = Path(__file__).parents[1]
SELECTIONS = (
    "reread", "window", "expected", "random(seed=1)", "reread(dynamic=loss, thresholds=5.5+5.6)",
    "window(dynamic=model)", "reread(levels=document+sentence)", "reread(dropped=mean)",
)  # fmt: skip
IDS = ["full", *(str(with_budget(name, budget)) for name in SELECTIONS for budget in ("share=0.25", "tokens=400"))]


def texts(i):
    lines = [f"Nothing is said in line {n} of document {i}." for n in range(3 + i)]
    return "\n".join([*lines, f"Colour: blue{i}", f"Owner: Smith{i}", "The end."])


@pytest.fixture(autouse=True)
def own_set(monkeypatch):
    """Three documents with two questions that have an answer and one that has none, and one with none at all."""
    absent = Question("b", "field", "Price")
    documents = [
        Document(
            f"d{i}",
            texts(i),
            (
                Question(f"{i}/a", "field", "Colour", (f"blue{i}",)),
                absent,
                Question(f"{i}/c", "question", "Who is the owner?", (f"Smith{i}", "Smith")),
            ),
        )
        for i in range(3)
    ]
    documents.append(Document("d3", texts(3), (absent,)))
    monkeypatch.setitem(SETS, "own", ReaderSet(lambda *given: documents, sampled=False, needs_data=False))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, byte_tokenizer):
    """A tiny llama that reads bytes, with weights so large that answers differ between states."""
    from transformers import AutoConfig, AutoModelForCausalLM

    root = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    sizes = {**TINY["llama"], "vocab_size": byte_tokenizer.get_vocab_size(), "initializer_range": 0.3}
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(root / "m")
    byte_tokenizer.save(str(root / "m" / "tokenizer.json"))
    return root / "m"


def bench(folder, **changes):
    settings = {
        "model": str(folder), "selections": SELECTIONS, "budgets": ("share=0.25", "tokens=400"), "sets": ("own",),
        "sampling": SelectSampling(longest=500), "tokenizer": str(folder), "max_new_tokens": 6,
    }  # fmt: skip
    return SelectBench(**{**settings, **changes})


@pytest.fixture(scope="module")
def rows_of(folder, tmp_path_factory):
    """The run of `bench`, made once."""
    made = {}

    def run():
        if not made:
            told = []
            where = tmp_path_factory.mktemp("runs") / "run"
            measure_selections(bench(folder), Path(), where, progress=lambda *now: told.append(now))
            made["run"], made["told"] = Run(where), told
        return made["run"], made["told"]

    return run


def untimed(rows):
    return [{name: value for name, value in row.items() if not name.endswith("seconds")} for row in rows]


# rows ---------------------------------------------------------------------------------------------------------------


def test_rows_are_those_of_readings_of_their_own(folder, rows_of):
    run, told = rows_of()
    rows, reader = list(run.rows()), Reader(load(folder))
    assert run.summary()["rows"] == len(rows) == 3 * 2 * len(IDS) and told[-1] == ("own", 3, 3)
    assert all(set(SELECTION_FIELDS) < set(row) for row in rows)
    assert list(dict.fromkeys(row["selection"] for row in rows)) == IDS
    predictions = {}
    for i, name in ((i, name) for i in range(3) for name in IDS):
        own = [row for row in rows if (row["document"], row["selection"]) == (f"d{i}", name)]
        read = reader.read(texts(i), select=name)
        want = reader.ask_read(read, ["Colour", "Who is the owner?"], max_new_tokens=6)
        assert [row["prediction"] for row in own] == [answer.text for answer in want]
        assert [row["confidence"] for row in own] == pytest.approx([one.mean_probability for one in want], abs=1e-4)
        assert [row["answers"] for row in own] == [[f"blue{i}"], [f"Smith{i}", "Smith"]]
        for row in own:
            kept = read.selected
            assert (row["positions"], row["tokens"]) == (pytest.approx(kept.positions, abs=0.01), kept.tokens)
            assert (row["state_bytes"], row["read_tokens"]) == (read.state.nbytes, kept.read_tokens)
        predictions.setdefault(name, []).extend(row["prediction"] for row in own)
    assert predictions["full"] == predictions["window(tokens=400)"] != predictions["window(share=0.25)"]
    assert predictions["reread(share=0.25)"] != predictions["random(seed=1, share=0.25)"]
    sizes = {
        (name, i): own["positions"]
        for name in IDS
        for i in range(3)
        for own in rows
        if own["selection"] == name and own["document"] == f"d{i}"
    }
    assert all(sizes["reread(dropped=mean, share=0.25)", i] < sizes["reread(share=0.25)", i] for i in range(3))


def test_a_document_is_read_once_for_all_selections(folder, monkeypatch, tmp_path):
    import reread.select_bench as module

    calls = []
    for name in ("plain_reading", "first_reading", "second_reading"):
        own = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *given, own=own, name=name, **more: calls.append(name) or own(*given, **more)
        )
    config = bench(folder, selections=(*SELECTIONS, "tova", "reread(plus=True)"), sampling=SelectSampling(documents=1))
    measure_selections(config, Path(), tmp_path / "run")
    assert sorted(calls) == ["first_reading", "plain_reading", *["second_reading"] * 3]


def test_rows_tell_what_a_state_lost_of_the_units_nearest_to_the_question(folder, tmp_path):
    config = bench(folder, selections=("reread", "window"), forgotten="line", sampling=SelectSampling(documents=1))
    run = measure_selections(config, Path(), tmp_path / "run")
    rows, reader = list(run.rows()), Reader(load(folder))
    assert not any({"near", "lost"} & set(row) for row in rows if row["selection"] == "full")
    for name in ("reread(share=0.25)", "window(share=0.25)", "window(tokens=400)"):
        read = reader.read(texts(0), select=name, forgotten="line")
        own = {row["ask"]: row for row in rows if row["selection"] == name}
        for ask, row in own.items():
            assert row["lost"] == pytest.approx(float(read.selected.forgotten.mean()), abs=1e-4)
            assert lost_near([Near(0, *pair) for pair in row["near"]]) == pytest.approx(read.lost_near(ask), abs=1e-3)
        nats = {round(one.nats, 4) for one in read.lost}
        (best, *_) = own["Colour"]["near"]
        assert any(abs(best[1] - one) < 2e-4 for one in nats) and 1 <= len(own["Colour"]["near"]) <= 5
    assert {tuple(pair)[1] for pair in own["Colour"]["near"]} == {0.0}  # a budget that holds the document
    assert run.header()["config"]["forgotten"] == "line"
    plain = bench(folder, selections=("window",), sampling=SelectSampling(documents=1))
    assert "forgotten" not in measure_selections(plain, Path(), tmp_path / "plain").header()["config"]


def test_a_stopped_run_resumes_at_the_document_that_it_had_not_finished(folder, rows_of, tmp_path):
    want = list(rows_of()[0].rows())
    where = tmp_path / "run"

    def stop(name, done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_selections(bench(folder), Path(), where, progress=stop)
    assert next(iter(Run(where).rows()))["document"] == "d0" and not Run(where).done
    lines = (where / "rows.jsonl").read_text().splitlines(keepends=True)
    assert len(lines) == 2 * 2 * len(IDS)
    first = {row["document"]: row["read_seconds"] for row in Run(where).rows()}
    (where / "rows.jsonl").write_text("".join(lines[:-5]) + lines[-5][:9])
    again = list(measure_selections(bench(folder), Path(), where).rows())
    assert untimed(again) == untimed(want)
    seconds = {row["read_seconds"] for row in again if (row["document"], row["selection"]) == ("d1", "full")}
    assert len(seconds) == 1 and first["d0"] == [row["read_seconds"] for row in again if row["document"] == "d0"][-1]
    assert list(measure_selections(bench(folder), Path(), where).rows()) == again


def test_a_run_does_not_go_on_with_another_model(folder, tmp_path):
    where = tmp_path / "run"
    config = bench(folder, selections=("window",), sampling=SelectSampling(documents=1))
    measure_selections(config, Path(), where)
    (where / "done.json").unlink()
    lines = [{**row, "fingerprint": "another"} for row in Run(where).rows()]
    (where / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with refused(BadInput, allowed="another", naming="another model"):
        measure_selections(config, Path(), where)


def test_thresholds_divide_documents_into_groups_of_equal_size(folder):
    found, reader = fit_thresholds(bench(folder), Path()), Reader(load(folder))
    assert list(found) == ["own", "all"] and found["own"] == found["all"]
    for kind in ("unigram", "model", "loss"):
        each = []
        for i in range(3):
            tokens = torch.tensor([reader.lm.tokenizer.encode(texts(i)).ids])
            each.append(plain_reading(reader.lm.model, tokens, predictions=True).complexity[kind])
        low, middle, high = sorted(each)
        want = [low + 0.4 * (middle - low), low + 0.8 * (middle - low)]
        want += [middle + 0.2 * (high - middle), middle + 0.6 * (high - middle)]
        assert found["all"][kind] == pytest.approx(want, abs=1e-4)


# refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "kind", "got"),
    [
        ({"selections": ("rereed",)}, UnknownName, "rereed"),
        ({"selections": ("full",)}, BadInput, "full"),
        ({"selections": ()}, BadInput, "none"),
        ({"selections": ("window(share=0.5)",)}, BadInput, "window(share=0.5)"),
        ({"selections": ("window(plus=True)",)}, UnknownName, "plus"),
        ({"budgets": ()}, BadInput, "none"),
        ({"budgets": ("share=2",)}, BadInput, 2.0),
        ({"budgets": ("loss=0.1",)}, BadInput, containing("loss=0.1")),
        ({"selections": ("reread(read=64)",), "budgets": ("tokens=8",)}, BadInput, "reread(read=64, tokens=8)"),
        ({"selections": ("window(read=64)",), "budgets": ("mib=1",)}, BadInput, containing("read=64")),
        ({"budgets": ("share=0.5", "share=0.50")}, BadInput, containing("reread(share=0.5)")),
        ({"sets": ("office",)}, UnknownName, "office"),
        ({"sampling": SelectSampling(absent=1)}, BadInput, "absent=1"),
        ({"sampling": SelectSampling(windows=("tail",))}, UnknownName, "tail"),
        ({"selections": ("window", "distilled")}, BadInput, containing("llama")),
        ({"model": "embeded"}, UnknownName, "embeded"),
        ({"model": "embedded"}, BadInput, containing("prefix")),
        ({"max_new_tokens": 0}, BadInput, 0),
        ({"forgotten": "word"}, UnknownName, "word"),
        ({"forgotten": "window(0)"}, BadInput, "window(0)"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_a_folder_is_made(folder, changes, kind, got, tmp_path):
    with refused(kind, got=got):
        measure_selections(bench(folder, **changes), Path(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_settings_and_budget_make_one_id():
    assert str(with_budget("reread(plus=True)", "tokens=64")) == "reread(plus=True, tokens=64)"
    assert str(with_budget("snapkv", "share=0.125")) == "snapkv(share=0.125)"


# the report ---------------------------------------------------------------------------------------------------------


def made_run(folder):
    """Two documents of two questions: the whole cache answers three, `window` one of them, and one "not found"."""
    config = SelectBench(selections=("window",), budgets=("share=0.5",), sets=("own",))
    run = Run.start(folder, "select_bench", to_dict(config))
    told = {
        "full": ["Ada Lovelace", "Bob", "Ada", "Eve"],
        "window(share=0.5)": ["Ada", "not found", "Cat", "Eve"],
    }
    expected = ["Ada", "Bob", "Ada", "Ida"]
    for name, predictions in told.items():
        for i, (answer, prediction) in enumerate(zip(expected, predictions, strict=True)):
            document, fixed = i // 2, name != "full"
            run.append({
                "set": "own", "window": "head", "budget": 512, "document": f"d{document}", "selection": name,
                "id": f"{i}", "kind": "field", "ask": "Who?", "answers": [answer], "prediction": prediction,
                "shown": i != 3, "positions": (50 if fixed else 100) * (document + 1), "tokens": 100 * (document + 1),
                "state_bytes": (2**20 if fixed else 2**21) * (document + 1), "read_tokens": 100 * (document + 1),
                "read_seconds": 0.5 + document, "keep_seconds": 0.25 if fixed else 0.0, "answer_seconds": 0.1 * (i + 1),
                "document_tokens": 98 * (document + 1),
            })  # fmt: skip
    run.finish({"rows": 8})
    return run


def test_figures_of_a_run_whose_answers_are_known(tmp_path):
    run = made_run(tmp_path / "run")
    (found,) = tables(run.folder)["selections"]
    assert (found["n"], found["documents"], found["shown"], found["tokens"]) == (4, 2, 0.75, 150)
    full, window = found["lines"]
    assert (full["selection"], window["selection"]) == ("full", "window(share=0.5)")
    assert full["to full"] is None and full["contains"]["mean"] == 0.75 and full["answered"]["mean"] == 1
    # F1 of "Ada Lovelace" against "Ada" is 2/3
    assert full["f1"]["mean"] == pytest.approx((2 / 3 + 1 + 1 + 0) / 4) and full["exact"]["mean"] == 0.5
    assert (full["positions"], full["state bytes"]) == (150, 1.5 * 2**21)
    # of four questions `window` loses the second and the third: one in each document
    gain = window["to full"]
    assert gain["contains"]["mean"] == -0.5 and (gain["wins"], gain["losses"], gain["ties"]) == (0, 2, 2)
    assert gain["contains"]["low"] == gain["contains"]["high"] == -0.5  # every document loses a half
    assert window["contains"]["mean"] == 0.25 and window["answered"]["mean"] == 0.75
    assert window["right of answered"]["mean"] == pytest.approx(1 / 3)
    assert (window["positions"], window["state bytes"], window["read tokens"]) == (75, 1.5 * 2**20, 150)
    assert window["read seconds"] == pytest.approx(1.25) and window["answer seconds"] == pytest.approx(0.25)
    text = report(run.folder)
    assert "| full | 2 | 4 | 75.0 [" in text and "4 questions about 2 documents of 150 tokens" in text
    assert "| -50.0 [-50.0, -50.0] | 0, 2 | 75.0 [" in text and "| 75 | 1.50 MiB | 150 | 1.25 | 0.25 |" in text


def warned_run(folder):
    """Four documents of one question: the whole cache answers three; `window` answers the first two."""
    config = SelectBench(selections=("window",), budgets=("share=0.5",), sets=("own",), forgotten="line")
    run = Run.start(folder, "select_bench", config.described)
    told = {"full": ["a", "b", "c", "no"], "window(share=0.5)": ["a", "b", "no", "no"]}
    near = [[[2.0, 0.5], [1.0, 0.2]], [], [[1.0, 3.0], [1.0, 0.0], [1.0, 0.0], [1.0, 90.0]], [[1.0, 0.1]]]
    lost, sure = [0.3, 0.2, 0.25, 0.1], [0.9, 0.8, 0.1, 0.2]
    for name, predictions in told.items():
        for i, prediction in enumerate(predictions):
            more = {} if name == "full" else {"near": near[i], "lost": lost[i], "lost_seconds": 0.5}
            run.append({
                "set": "own", "window": "head", "budget": 512, "document": f"d{i}", "selection": name, "id": f"{i}",
                "kind": "field", "ask": "Who?", "answers": ["abcd"[i]], "prediction": prediction, "shown": True,
                "positions": 50, "tokens": 100, "state_bytes": 2**20, "read_tokens": 100, "read_seconds": 0.5,
                "keep_seconds": 0.0, "answer_seconds": 0.1, "document_tokens": 98, "confidence": sure[i], **more,
            })  # fmt: skip
    run.finish({"rows": 8})
    return run


def test_figures_of_a_warning_whose_losses_are_known(tmp_path):
    run = warned_run(tmp_path / "run")
    (found,) = tables(run.folder)["selections"]
    (line,) = found["warnings"]
    # the nearest lost 0.4; no word in common, so 0.2 of the document; 1.0, which is no warning; 0.1.  Two are wrong
    assert (line["selection"], line["n"], line["wrong"]["mean"]) == ("window(share=0.5)", 4, 0.5)
    assert line["nearest"]["mean"] == pytest.approx(2 / 4)
    assert line["document"]["mean"] == pytest.approx(1 / 4) and line["doubt"]["mean"] == 1.0
    assert (line["n of lost"], line["of lost"]["mean"]) == (3, 1.0)
    assert 0 <= line["nearest"]["low"] <= line["nearest"]["mean"] <= line["nearest"]["high"] <= 1
    assert line["warned"]["mean"] == 0 and line["wrong of warned"] is None and line["wrong of others"]["mean"] == 0.5
    text = report(run.folder)
    assert "| window(share=0.5) | 4 | 4 | 50.0 [" in text and "| 0.50 [" in text and "n = 3 |" in text
    rows = list(map(scored, run.rows()))
    full, own = rows[:4], rows[4:]
    lines = warning_lines({"full": full, "a": own, "b": own}, full)
    assert [(one["selection"], one["n"]) for one in lines] == [("a", 4), ("b", 4), (TOGETHER, 8)]
    assert lines[2]["nearest"]["mean"] == 0.5 and lines[2]["lost seconds"] is None and lines[2]["documents"] == 4
    assert "warnings" not in tables(made_run(tmp_path / "other").folder)["selections"][0]


# command and recipes ------------------------------------------------------------------------------------------------


def test_the_command_measures_and_prints_its_table(folder, tmp_path):
    words = (
        "select-bench",
        "--model",
        folder,
        "--out",
        tmp_path / "run",
        "--set",
        "sets=own",
        "--set",
        "budgets=tokens=9",
    )
    more = ("--set", "selections=window", "--set", f"tokenizer={folder}", "--set", "sampling.documents=1")
    done = reread(*words, *more, "--set", "max_new_tokens=4")
    assert done.returncode == 0 and "| window(tokens=9) | 1 | 2 | " in done.stdout, done
    complained(reread("select-bench", "--adapter", "x", "--out", tmp_path / "other"), "x")


@needs_reader
@pytest.mark.parametrize("name", ["select_bench", "select_bench_six", "select_bench_enhancements"])
def test_the_recipes_in_the_repository_are_right(name):
    config = build(SelectBench, read_toml(ROOT / "recipes" / f"{name}.toml"))
    config.check()
    assert config.sampling.windows == ("answer_centered",) and config.sampling.absent == 0
