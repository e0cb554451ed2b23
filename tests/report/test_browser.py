"""The page in a real browser: Chromium, driven by playwright.

Where no Chromium is installed (as a system package, or named by the environment variable
REREAD_CHROMIUM) these tests are skipped and say so; test_written.py reads the same page without one.
"""

import pytest

pytestmark = pytest.mark.slow

# Pairs of texts of one drawing that cover each other, and texts that stand outside their drawing.
CROWDED = """() => [...document.querySelectorAll('figure')].flatMap(figure => {
  const frame = figure.querySelector('svg').getBoundingClientRect();
  const texts = [...figure.querySelectorAll('svg text')].filter(text => !text.closest('[transform*="rotate(-40"]'));
  const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
  const found = [];
  boxes.forEach(([name, a], i) => {
    if (a.left < frame.left - 2 || a.right > frame.right + 2 || a.top < frame.top - 2 || a.bottom > frame.bottom + 2)
      found.push([figure.id, name, 'outside']);
    if (!(a.width > 0 && a.height > 5)) found.push([figure.id, name, 'too small']);
    boxes.slice(i + 1).forEach(([other, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const tall = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && tall > 4) found.push([figure.id, name, other]);
    });
  });
  return found; })"""


@pytest.fixture
def show(chromium, written):
    """show(width=..., color_scheme=...): the report in a window, and what it asked for or complained of."""
    contexts = []

    def make(width=1200, **how):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **how)
        contexts.append(context)
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto((written / "report.html").as_uri())
        return page, said

    yield make
    for context in contexts:
        context.close()


def test_the_page_opens_alone_and_complains_of_nothing(show):
    page, said = show()
    assert [text for text in said if not text.endswith("report.html")] == [] and len(said) == 1
    assert page.title().startswith("reread report: ")
    assert page.get_by_role("heading", level=2).count() >= 6
    assert page.get_by_role("img").count() == 6
    assert page.get_by_role("row").count() > 40


@pytest.mark.parametrize("width", [1200, 375])
def test_the_page_is_no_wider_than_the_window_and_tables_scroll(show, width):
    page, _ = show(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    region = page.get_by_role("region", name="Table: Recall")
    assert region.evaluate("e => e.scrollWidth > e.clientWidth") or width > 1000
    region.evaluate("e => e.scrollLeft = 1e6")
    last = region.get_by_role("columnheader").last.bounding_box()
    assert last["x"] + last["width"] <= width


@pytest.mark.parametrize("width", [1200, 375])
def test_no_label_of_a_figure_is_cut_or_covers_another(show, width):
    page, _ = show(width)
    assert page.evaluate(CROWDED) == []
    least = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height))"
    )
    assert least >= 9


def test_the_crowding_check_sees_crowding(show):
    page, _ = show()
    page.evaluate("document.querySelectorAll('svg text').forEach(t => t.setAttribute('transform', 'translate(20 20)'))")
    assert len(page.evaluate(CROWDED)) > 10


def test_dark_is_dark_and_light_is_light(show):
    seen = {}
    for scheme in ("light", "dark"):
        page, _ = show(color_scheme=scheme)
        body = page.evaluate("getComputedStyle(document.body).backgroundColor")
        text = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
        mark = page.evaluate("getComputedStyle(document.querySelector('svg [style*=\"--series-0\"]')).stroke")
        seen[scheme] = (body, text, mark)
    assert seen["light"] == ("rgb(255, 255, 255)", "rgb(27, 29, 32)", "rgb(0, 114, 178)")
    assert seen["dark"] == ("rgb(21, 23, 26)", "rgb(232, 234, 237)", "rgb(88, 180, 240)")


def test_the_printed_page_is_light_whole_and_shows_what_is_folded(show):
    page, _ = show(color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert page.locator("details table").first.is_visible()
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_every_link_and_every_table_is_reached_by_keyboard(show):
    page, _ = show()
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.slice(0, 40) + document.activeElement.tagName"))
    assert sum(name.endswith("A") for name in reached) >= 6
    assert sum(name.endswith("DIV") for name in reached) >= 4
