"""The page in a real browser: Chromium, driven by playwright; skipped where there is none (see report/test_browser.py).

With REREAD_SCREENSHOTS=DIR the page is drawn there, light, dark and narrow.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from local_server import CONTRACT, ROOT

from reread.models.lost_units import LostUnits

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = os.environ.get("REREAD_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
PAGE = (ROOT / "src/reread/assets/serve/page.html").read_text(encoding="utf-8")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: install the system package chromium")
SCREENSHOTS = os.environ.get("REREAD_SCREENSHOTS")
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def test_the_page_writes_text_only_and_asks_nobody_else():
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "localStorage", "cookie"):
        assert word not in PAGE
    assert not re.findall(r"https?://|\son\w+=|style=|@import|url\(", PAGE)
    assert len(re.findall("<script", PAGE)) == 1 == len(re.findall("<style", PAGE))


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(chromium):
    """show(served, width=..., color_scheme=...): the page in a window, and what it asked for or complained of."""
    contexts = []

    def make(served, width=1000, **how):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **how)
        contexts.append(context)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: said.append(request.url) if not request.url.startswith((served.url, "data:")) else 0,
        )
        page.goto(served.url)
        return page, said

    yield make
    for context in contexts:
        context.close()


def draw(page, name):
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"), full_page=True)


def read_and_ask(page, strategy="twice(cue=False)"):
    page.get_by_label("A text, Markdown, HTML or PDF file").set_input_files(str(CONTRACT))
    page.get_by_label("How it is read").select_option(strategy)
    page.get_by_role("button", name="Read", exact=True).click()
    page.locator("#seen").wait_for(state="visible", timeout=30_000)
    page.get_by_label("A question").fill("Governing law")
    page.keyboard.press("Enter")
    page.locator(".turn .soft").filter(has_text="confidence").wait_for(timeout=30_000)


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 1000), ("light", 375), ("dark", 320)])
def test_a_document_is_dropped_in_and_asked(served, show, scheme, width):
    page, said = show(served, width, color_scheme=scheme)
    read_and_ask(page)
    draw(page, f"{scheme}-{width}")
    facts = dict(
        zip(page.locator("#facts dt").all_inner_texts(), page.locator("#facts dd").all_inner_texts(), strict=True)
    )
    assert facts["tokens read"] == "795" and facts["state"] == "947 KiB" and facts["re-read"] == "398 tokens"
    assert re.fullmatch(r"\d+ ms|\d+\.\d\d s|read before", facts["seconds"])
    assert "looked at 2 times" in page.locator("#looks").inner_text()
    assert not page.locator("#again-text").is_visible()
    page.get_by_text("What was re-read").click()
    assert page.locator("#again-text").inner_text() == CONTRACT.read_text(encoding="utf-8").strip()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".turn .a").inner_text() == "England and Wales"
    cost = page.locator(".turn .soft").inner_text()
    assert "795 from the state" in cost and "947 KiB" in cost and re.search(r"confidence 0\.\d\d", cost)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 26)"}[scheme]
    assert said == []


@pytest.mark.slow
@needs_chromium
def test_everything_is_done_by_keyboard_alone(serving, embedded, show):
    with serving(embedded) as served:
        page, said = show(served)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("Order number: 77-B\nColour: red\n")
        for wanted in ("strategy", "select", "budget", "go"):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.id") == wanted
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.locator("#seen").wait_for(state="visible", timeout=30_000)
        page.wait_for_function("document.activeElement.id === 'question'")
        page.keyboard.type("Colour")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.locator(".turn .soft").filter(has_text="confidence").wait_for(timeout=30_000)
        assert page.locator("#kept li").count() == 1
        page.get_by_role("button", name="Remove pasted text.txt").focus()
        page.keyboard.press("Enter")
        page.locator("#none").wait_for(state="visible")
        assert served.desk.listed() == [] and page.locator("#send").is_disabled()
        assert said == []


@pytest.mark.slow
@needs_chromium
def test_what_a_document_or_a_server_says_is_text(serving, show):
    with serving() as served:
        page, said = show(served)
        page.get_by_label("or its text").fill(HOSTILE)
        page.get_by_role("button", name="Read", exact=True).click()
        page.locator("#seen").wait_for(state="visible", timeout=30_000)
        served.read("A text.", name=HOSTILE.replace("/", "|"))
        page.get_by_label("A question").fill(HOSTILE)
        page.keyboard.press("Enter")
        page.locator(".turn .soft").filter(has_text="confidence").wait_for(timeout=30_000)
        page.reload()
        page.locator("#kept li").first.wait_for()
        assert "<img" in page.locator("#kept").inner_text() and page.locator("img").count() == 0
        assert page.title().startswith("reread") and said == []
        page.get_by_label("Tokens shown at most").fill("many")
        page.get_by_label("or its text").fill("x")
        page.get_by_role("button", name="Read", exact=True).click()
        page.get_by_role("alert").wait_for(state="visible")
        assert "budget" in page.get_by_role("alert").inner_text()


@pytest.mark.slow
@needs_chromium
def test_a_key_is_asked_for_and_kept_nowhere(serving, show):
    key = "a-key-of-sixteen-or-more"
    with serving(api_key=key) as served:
        page, _ = show(served)
        page.locator("#key").wait_for(state="visible")
        draw(page, "key")
        page.locator("#key").fill(key)
        page.keyboard.press("Enter")
        page.locator("#keys").wait_for(state="hidden")
        assert "tiny" in page.locator("#model").inner_text() and not page.get_by_role("alert").is_visible()
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.slow
@needs_chromium
def test_no_page_of_another_origin_can_ask(served, show, chromium, tmp_path):
    """A page from a file (its origin is "null") tries what a page elsewhere would."""
    (tmp_path / "evil.html").write_text("<p>x</p>", encoding="utf-8")
    context = chromium.new_context()
    page = context.new_page()
    page.goto((tmp_path / "evil.html").as_uri())
    before = len(served.desk.listed())
    tried = """async url => { const form = new FormData(); form.append('file', new File(['Stolen.'], 'a.txt'));
      const json = {method: 'POST', body: '{"text": "x"}', headers: {'content-type': 'application/json'}}, got = [];
      for (const how of [{}, {method: 'POST', body: form, mode: 'no-cors'}, json])
        try { const r = await fetch(url + '/v1/documents', how); got.push(r.type); }
        catch (e) { got.push('refused'); }
      return got; }"""
    assert page.evaluate(tried, served.url) == ["refused", "refused", "refused"]
    assert (
        served.metric('reread_requests_total{path="/v1/documents",status="403"}') >= 1
    )  # one came, and was turned away
    assert len(served.desk.listed()) == before
    context.close()


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 375)])
def test_the_document_is_shown_with_lost_sentences_shaded_and_the_answer_marked(
    serving, byte_llama, show, monkeypatch, scheme, width
):
    text = "Applicant: Røche 𝔇iagnostics. Product code: DEW. Decided in May by <b>the panel</b>."
    units = [(0, 30), (30, 49), (49, len(text))]
    nats = torch.tensor([0.25, 2.5, 1.75], dtype=torch.float16)
    monkeypatch.setattr(
        "reread.sessions.LostUnits.of", lambda bounds, losses: LostUnits(torch.tensor(bounds).int(), nats)
    )
    monkeypatch.setattr("reread.engine.verbatim_span", lambda *given: (44, 47))
    with serving(byte_llama) as served:
        page, said = show(served, width, color_scheme=scheme)
        page.get_by_label("or its text").fill(text)
        page.get_by_label("Keys that are kept").fill("reread(tokens=24)")
        page.get_by_role("button", name="Read", exact=True).click()
        page.locator("#words").wait_for(state="visible", timeout=30_000)
        assert page.locator("#words").inner_text() == text and page.locator("#words b").count() == 0
        assert page.locator("#lost-count").inner_text() == "2 of 3 sentences forgotten (shaded, underlined)."
        assert "".join(page.locator("#words .lost").all_inner_texts()) == text[units[1][0] :]
        assert page.locator("#words .lost").first.get_attribute("title").startswith("2.5 nats")
        assert page.locator("mark").count() == 0
        page.get_by_label("A question").fill("Product code")
        page.keyboard.press("Enter")
        page.locator(".turn .soft").filter(has_text="confidence").wait_for(timeout=30_000)
        assert page.locator("mark").all_inner_texts() == [text[44:47]] == ["DEW"]
        assert "forgot" in page.locator(".turn .bad").inner_text()
        assert page.locator("#words").inner_text() == text
        draw(page, f"lost-{scheme}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_label("Keys that are kept").fill("full")
        page.get_by_role("button", name="Read", exact=True).click()
        page.locator("#document").wait_for(state="hidden", timeout=30_000)
        page.get_by_label("Keys that are kept").fill("rereed(tokens=24)")
        page.get_by_role("button", name="Read", exact=True).click()
        page.get_by_role("alert").filter(has_text="rereed").wait_for(timeout=30_000)
        assert [one for one in said if "400" not in one] == []
