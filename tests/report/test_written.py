"""The report's files: whole or not there, and nothing in them comes alive."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import html5lib
import pytest
from made_rows import HOSTILE, STRATEGIES, TASKS, finished, rich_rows, row
from raising import containing, refused

import reread.report
from reread.errors import BadInput, MissingPackage
from reread.report import gather, write_report
from reread.report.latex import escape as latex_escape
from reread.report.latex import latex
from reread.report.markdown import WRITERS, markdown
from reread.report.runs import KINDS
from reread.report.words import clean, shorten, tables_of


@pytest.fixture
def page(written):
    return (written / "report.html").read_text(encoding="utf-8")


class Page(HTMLParser):
    """Tags with their attributes, and the text of every cell."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "bdi":
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "bdi"

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def test_three_files_are_written_and_no_part_is_left(written):
    assert sorted(path.name for path in written.iterdir()) == ["report.html", "report.md", "report.tex"]


def test_the_page_is_valid_html_and_needs_nothing_else(page):
    html5lib.HTMLParser(strict=True).parse(page)
    found = Page(page)
    names = [tag for tag, _ in found.tags]
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(names)
    for _, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(attributes.get(name, "#").startswith("#") for name in ("href", "src", "xlink:href"))
    assert "url(#" in page and not re.search(r"url\((?!#)|@import", page)
    without_namespace = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "//" not in re.sub(r"</?(?:bdi|td|th)[^>]*>[^<]*", "", without_namespace)


def test_ids_are_unique_and_links_lead_somewhere(page):
    found = Page(page)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) > 20
    wanted = {a["href"][1:] for _, a in found.tags if a.get("href", "").startswith("#")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert wanted and wanted <= set(ids)


def test_headings_tables_and_figures_say_what_they_are(page):
    found = Page(page)
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == names.count("main") == 1
    assert names.count("figure") == names.count("figcaption") == names.count("svg") == 6
    pictures = [attributes for tag, attributes in found.tags if attributes.get("role") == "img"]
    assert len(pictures) == 6 and all(len(a["aria-label"]) > 40 for a in pictures)
    assert all(len(a["aria-label"]) < 1500 for a in pictures)
    regions = [attributes for _, attributes in found.tags if attributes.get("role") == "region"]
    assert len(regions) == names.count("table") and all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    for caption in re.findall(r"<figcaption>(.*?)</figcaption>", page):
        assert re.search(r"\bn\b.*\d", caption) and ("95 %" in caption or "quartiles" in caption)


def test_what_comes_from_rows_is_text_and_is_cut(page):
    found = Page(page)
    assert "<script" not in page and "\x00" not in page and "\ud800" not in page
    questions = [cell for cell in found.cells if cell.startswith(HOSTILE)]
    assert questions, "questions are to be read as they are"
    assert any("characters more)" in cell for cell in found.cells)
    assert max(map(len, found.cells)) < 1200
    assert any(cell.endswith("| (1 more)") for cell in found.cells)


def test_every_number_of_the_tables_stands_in_all_three_files(rich, page):
    found = gather(rich)
    cells, written, typeset = Page(page).cells, markdown(found), latex(found)
    for table in tables_of(found):
        for words in table.rows:
            for name, word in zip(table.columns, words, strict=True):
                assert word in cells, (name, word)
                assert word.replace("<", "&lt;") in written, (name, word)
                shown = latex_escape(word)
                assert shown in typeset or re.sub(r"-(?=\d)", "$-$", shown) in typeset, (name, word)


def test_sources_name_folder_commit_date_and_command(rich, page):
    cells = Page(page).cells
    for run in gather(rich)["runs"]:
        assert run["run"] in cells and run["command"] in cells and run["header"]["started"][:10] in cells


def test_hostile_names_break_no_table(write, tmp_path):
    names = ("once", HOSTILE, "a\nb", "$\\alpha$ {", "漢字 ümlaut \u202e")
    run = write("hostile", rich_rows(models=(HOSTILE,), strategies=names, n=6))
    write_report([run], tmp_path / "out")
    html5lib.HTMLParser(strict=True).parse((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        lines = block.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) for line in lines}) == 1, block
    assert "<script" not in text
    typeset = (tmp_path / "out" / "report.tex").read_text(encoding="utf-8")
    for block in re.findall(r"\\begin{tabular}{(.*?)}\n\\toprule\n(.*?)\\bottomrule", typeset, flags=re.DOTALL):
        for line in block[1].splitlines():
            if line != "\\midrule":
                assert line.endswith(" \\\\")
                assert len(re.findall(r"(?<!\\)&", line)) == len(block[0]) - 1, line


def test_latex_escapes_what_it_would_read():
    assert latex_escape("a_b 5% & #1 {x} $y$") == r"a\_b 5\% \& \#1 \{x\} \$y\$"
    assert latex_escape("\\ ~ ^ < > |") == (
        r"\textbackslash{} \textasciitilde{} \textasciicircum{} \textless{} \textgreater{} \textbar{}"
    )


def test_latex_tables_balance_and_name_what_every_line_shares(rich):
    text = latex(gather(rich))
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == text.count("\\toprule") == 4
    assert "window: head; budget: 512" in text
    uncommented = [line for line in text.splitlines() if not line.startswith("%")]
    assert all(line.count("{") - line.count("\\{") == line.count("}") - line.count("\\}") for line in uncommented)
    assert not re.search(r"(?<!\\)%", "\n".join(uncommented))


@pytest.fixture(scope="module")
def long_table(tmp_path_factory):
    """The LaTeX of a run with more cells than a page holds."""
    names = [f"repeat(n={n})" for n in range(1, 51)]
    rows = [row(strategy=name, contains=float(i % 2)) for i, name in enumerate(names)]
    return latex(gather([finished(tmp_path_factory.mktemp("long") / "run", rows)]))


def test_a_table_longer_than_a_page_goes_on_over_pages(long_table):
    found = re.findall(r"\\begin{longtable}.*?\\end{longtable}", long_table, flags=re.DOTALL)
    assert found and all(f"repeat(n={n})" in found[0] for n in range(1, 51))
    assert "\\endhead" in found[0] and "\\usepackage{longtable}" in long_table


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_pdflatex_sets_the_tables(rich, long_table, tmp_path):
    ascii_only = re.sub(r"[^\x00-\x7f]", "?", latex(gather(rich)) + long_table)
    packages = "".join(f"\\usepackage{{{name}}}" for name in ("booktabs", "longtable", "textcomp"))
    head = f"\\documentclass{{article}}{packages}\\usepackage[T1]{{fontenc}}"
    (tmp_path / "paper.tex").write_text(f"{head}\\begin{{document}}\n{ascii_only}\n\\end{{document}}\n")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


def test_text_is_cleaned_and_cut():
    assert clean("a\n b\x00\ud800\u2028c") == "a b\ufffd\ufffd c"
    assert shorten("x" * 300, 10) == "x" * 10 + " ... (290 characters more)"


def test_a_file_in_the_place_of_the_folder_is_refused(rich, tmp_path):
    (tmp_path / "file").write_text("x")
    with refused(BadInput, got=tmp_path / "file"):
        write_report(rich, tmp_path / "file")
    with refused(BadInput, got=tmp_path / "file" / "out"):
        write_report(rich, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError])
def test_a_stop_while_writing_leaves_the_old_report_whole(write, tmp_path, monkeypatch, failure):
    out, old, new = tmp_path / "out", write("old", [row()]), write("new", [row(contains=0.0)])
    write_report([old], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write = type(out).write_text

    def stop(self, text, **how):
        write(self, text[: len(text) // 2], **how)
        if self.name.startswith("report.html"):
            raise failure("stopped")

    monkeypatch.setattr(type(out), "write_text", stop)
    with pytest.raises(BadInput if failure is OSError else failure):
        write_report([new], out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_nothing_is_written_for_a_run_that_is_refused(write, tmp_path):
    one, two = write("one", [row()]), write("two", [row(prediction="other")])
    with pytest.raises(BadInput):
        write_report([one, two], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_matplotlib_it_is_said_and_nothing_is_written(rich, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with refused(MissingPackage, naming="matplotlib", todo=containing("reread[eval]")):
        write_report(rich, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_report_costs_no_torch(rich, tmp_path):
    code = (
        "import sys; from pathlib import Path; from reread.report import write_report; "
        "write_report([Path(p) for p in sys.argv[2:]], Path(sys.argv[1])); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'matplotlib.pyplot')))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "out", *rich], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_numbers_are_json(rich):
    found = json.loads(json.dumps(gather(rich)))
    assert len(found["cells"]) == 2 * len(TASKS) * len(STRATEGIES)
    assert reread.report.tables(rich[0])["cells"][0]["n"] == 30


def test_every_kind_of_run_can_be_written():
    assert WRITERS.keys() == KINDS.keys()
