"""HTML as a browser shows it, in words: tables, lists, forms, what is hidden, broken markup."""

import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raising import containing, refused

from reread.documents.html import html_text
from reread.documents.loaders import source_of
from reread.errors import BadInput, MissingPackage

ASKED = "Early interest: XW-759"


@pytest.mark.parametrize(
    "page",
    [
        "<table><tr><td>Early interest<td>XW-759</table>",
        "<table><tr><th>Field<th>Value<tr><td>Early <b>interest</b><td> <i>XW-759</i></table>",
        "<table><tbody><tr><th scope=row>Early interest:<td>XW-759</tbody></table>",
        "<table><tr><td><p>Early interest</p></td>\n<td><div>XW-759</div></td></tr></table>",
        "<table><tr><th>Total area<th>Early interest<th>Other<tr><td>794 pieces<td>XW-759<td>x</table>",
        "<table><thead><tr><td>Total area<td>Early interest<td>Other<tbody><tr><td>794<td>XW-759<td>x</table>",
        "<table><tr><th>Total area<td>794 pieces<th>Early interest<td>XW-759</table>",
        "<table><tr><td>Total area:<td>794 pieces<td>Early interest:<td>XW-759</table>",
        "<dl><dt>Total area<dd>794 pieces<dt>Early interest<dd>XW-759</dl>",
        "<dl><div><dt>Early interest</dt><dd>XW-759</dd></div></dl>",
        "<ul><li>Early interest: XW-759</ul>".replace("<ul><li>", "<div>").replace("</ul>", "</div>"),
        "<pre>Total area: 794 pieces\nEarly interest: XW-759\n</pre>",
        "<pre><code class=x>Total area: 794 pieces\n<span>Early</span> interest: XW-759</code></pre>",
        "<textarea>Total area: 794 pieces\nEarly interest: XW-759</textarea>",
        "<div style='white-space: pre'>Total area: 794 pieces\nEarly interest: XW-759</div>",
        "Total area: 794 pieces<br>Early interest: XW-759<br/>x",
        "<p>Early interest:&nbsp;XW-759</p>",
        "<span>Early interest:</span> <span>XW-759</span>",
        "<p>Early\n interest:\n XW-759</p>",
        "<label>Early interest: <input value='XW-759'></label>",
        "<p>Early interest: <select><option>A<option selected>XW-759</select></p>",
        "<p>Early inte&shy;rest: XW-&#8203;759</p>",
        "<p>Early interest: <span style='display:none'>OLD-111</span>XW-759</p>",
        "<p>Early interest: <span hidden>OLD-111</span>XW-759</p>",
        "<p>Early interest: <span style='color: red; VISIBILITY : hidden'>OLD-111</span>XW-759</p>",
        "<style>.old, p.x { color: red; display: none }</style><p>Early interest: <s class='a old'>OLD</s>XW-759</p>",
        "<style>/* .b{} */ #old{display:none}</style><p>Early interest: <s id=old>OLD-111</s>XW-759</p>",
        "<p>Early interest: <template>OLD-111</template><script>OLD</script><!-- OLD -->XW-759</p>",
        "<p>Early interest: <svg><text>OLD</text></svg><input type=hidden value=OLD>XW-759</p>",
    ],
)
def test_a_label_and_its_value_stand_on_one_line(page):
    lines = source_of(page.encode(), "a.html").text.split("\n")
    assert ASKED in lines and "OLD" not in "".join(lines)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<table><tr><td>a<td>b<td>c</table>", "a; b; c"),
        ("<table><tr><td><td>2019<td>2018</table>", "2019; 2018"),
        ("<table><tr><th>A<th>B<th>C<tr><td>1<td>2<td>3<tr><td>4<td><td>6</table>", "A: 1\nB: 2\nC: 3\n\nA: 4\nC: 6"),
        ("<table><tr><td>Model?<td>M7<tr><td><td>alone</table>", "Model? M7\nalone"),
        ("<table><tr><td>名前：<td>ロシュ</table>", "名前： ロシュ"),
        ("<table><tr><td>Code<td><p>JMG</p><p>JMH</p></table>", "Code: JMG\nJMH"),
        ("<table><tr><td>one<br>two<td>three</table>", "one\ntwo\nthree"),
        ("<table><tr><td>empty<td><script>x</script></table>", "empty"),
        ("<table><tr><td>In<td><table><tr><td>Code<td>JMG</table></table>", "In\nCode: JMG"),
        ("<table><tr><td>A<td>B</tr>after<tr><td>C<td>D</table>", "A: B\nafter\nC: D"),
        ("<table><tr><td>" + "word " * 12 + "<td>more</table>", "word " * 11 + "word; more"),
        ("<dl><dt>Code<dd>JMG<dd>JMH</dl>", "Code: JMG\nJMH"),
        ("<dl><dt>Code</dt><dt>Number</dt><dd>JMG</dd></dl>", "Code\nNumber: JMG"),
        ("<ol start=3><li>c<li value=7>d</ol>", "3. c\n7. d"),
        ("<ul><li>a<ul><li>b</ul></ul>", "- a\n- b"),
        ("<ul><li><p>a</p><p>b</p></ul>", "- a\n\nb"),
        ("<input type=checkbox checked>yes <input type=radio>no", "[x] yes [ ] no"),
        ("<input type=password value=secret>a", "a"),
        ("<title>T</title><h1>H</h1><p>a<b>b</b>c<p>d", "T\n\nH\n\nabc\n\nd"),
        ("<p hidden>x</p>tail", "tail"),
        ("<div style='display:inline'>a</div> <div style='display:inline'>b</div>", "a b"),
        ("<details><summary>S</summary>inside</details>", "S\ninside"),
        ("a<wbr>b<?pi f?>c<noscript>n</noscript>", "abc"),
        ("<p>a</p>" + "<br>" * 9 + "<p>b</p>", "a\n\nb"),
    ],
)
def test_what_a_page_shows_by_its_layout_is_said_in_words(page, text):
    assert source_of(page.encode(), "a.html").text == text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a <b>b <i>c</b> d</i> e", "a b c d e"),
        ("<p class='never closed>swallowed</p>", ""),
        ("plain & text < with > signs", "plain & text < with > signs"),
        ("<div>" * 1500 + "deep" + "</div>" * 700 + "less", "deep\nless"),
        ("<b>" * 900 + "de<i>ep</i>", "deep"),
        ("a\x00b", "a b"),
        ("", ""),
        ("<!-- only a comment -->", ""),
        ("<html></html>", ""),
        ("<table><tr><td></table>", ""),
        ("<ol start=x><li></ol><dl><dt>a</dl><tr><td>b", "a\nb"),
    ],
)
def test_broken_markup_is_mended(page, text):
    assert html_text(page) == text


def test_what_the_parser_gives_up_is_not_lost_in_silence():
    with refused(BadInput, got=containing("2048"), naming="p.htm"):
        html_text("<div>" * 5000 + "deep", "p.htm")
    with refused(BadInput, naming=("empty.html", "no text")):
        source_of(b"<html><script>x</script></html>", "empty.html")


tags = st.sampled_from(
    "<p> </p> <div> <table> </table> <tr> <td> <th> <dl> <dt> <dd> <li> <ul> <ol> <pre> <b> </b> <br> <select> "
    "<option> <input> <textarea> </textarea> <span hidden> </span> <title> <head> <thead> <caption>".split()
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.one_of(tags, st.text(max_size=4)), max_size=30).map("".join))
def test_no_page_is_too_broken(page):
    assert "\n\n\n" not in html_text(page)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from("<table> </table> <tr> <td> <th> <dl> <dt> <dd> <li> <ul> <p> <pre> <br>".split())))
def test_no_word_is_lost_and_none_comes_twice(tags):
    page = "".join(f"{tag}w{number} " for number, tag in enumerate(tags))
    found = html_text(page).replace(":", " ").replace(";", " ").split()
    assert {word for word in found if word.startswith("w")} == {f"w{number}" for number in range(len(tags))}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_characters="<>&\x00", exclude_categories=["Cc", "Cs"])))
def test_any_text_stays_but_for_its_blanks(text):
    assert html_text(f"<p>{text}</p>").split() == text.split()


@pytest.mark.parametrize(
    ("data", "name", "text"),
    [
        (b"<!DOCTYPE html><p>a<p>b", "-", "a\n\nb"),
        (b"\n <!-- x -->\n<html lang=en><p>a", "page.aspx", "a"),
        (b"<%@ Page Language='C#' %>\n<!doctype HTML><p>a", "page.aspx", "a"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<html><p>a', "upload", "a"),
        (b"<!DOCTYPE html><p>a", "document.txt", "a"),
        (b"<p>a", "a.txt", "<p>a"),
        (b"x <!doctype html>", "a.txt", "x <!doctype html>"),
        (b"<htmlx>", "a", "<htmlx>"),
    ],
)
def test_a_page_is_recognised_by_how_it_begins(data, name, text):
    assert source_of(data, name).text == text


def test_without_inscriptis_the_pip_line_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "inscriptis", None)
    with refused(MissingPackage, naming="inscriptis", todo=containing("reread[documents]")):
        html_text("<p>a")


@pytest.mark.parametrize(
    "part", ["<p>a", "<table><tr><td>a<td>b</table>", "<tr><td>a", "<li>a", "<dl><dt>a<dd>b</dl>", "<br>a"]
)
def test_a_page_takes_time_in_proportion_to_its_length(part):
    def seconds(times):
        began = time.process_time()
        html_text("<div>" + part * times)
        return time.process_time() - began

    few = min(seconds(300) for _ in range(2))
    assert seconds(2400) < 24 * few + 0.5  # a square would be 64 times
