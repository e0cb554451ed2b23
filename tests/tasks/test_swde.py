"""SWDE: pages and ground truth of an archive, that fit each other or are refused."""

from collections import Counter

import pytest
from raising import containing, refused

from reread.errors import BadInput
from reread.tasks.recall import TASKS
from reread.tasks.swde import swde
from reread.tasks.task import sort_out

pytest.importorskip("lxml")
ARCHIVE = "swde/swde_sample.tar.xz"
PAGE = "swde/movie/movie-x(2000)/{}.htm".format
GENRE, NAME = (f"swde/groundtruth/movie/movie-x-{a}.txt" for a in ("genre", "mpaa_rating"))
FILES = {
    PAGE("0001"): "<title>Up</title><table><tr><td>Genre</td><td>Caf&eacute;, <b>Drama</b></td></tr></table>",
    PAGE("0000"): b"\xef\xbb\xbf<meta charset=iso-8859-1><p>Genre: Com\xc3\xa9die &amp; Noir</p><p>Rated: R</p>",
    GENRE: "\ufeffmovie\tx\tgenre\r\n2\t2\t3\t3\n0000\t1\tCom\u00e9die&#160;&amp; Noir\n"
    "0001\t2\tCaf&eacute;,\t: Drama\n",
    NAME: "movie\tx\tmpaa_rating\n2\t1\t1\t1\n0000\t1\tR (adults)\n0001\t0\t<NULL>\n",
}


def test_one_sample_per_page_and_attribute_by_page(archived, tmp_path):
    archived(ARCHIVE, FILES)
    loaded = TASKS["swde"].load(tmp_path)
    got = [(s.id, s.question, s.answers, s.anchors, s.template) for s in loaded.samples]
    comedy, cafe = "Com\u00e9die & Noir", "Caf\u00e9,"
    assert got == [
        ("movie-x/0000/genre", "genre", (comedy,), ("genre", comedy), "field"),
        ("movie-x/0000/mpaa_rating", "mpaa rating", ("R (adults)",), ("mpaa rating", "R (adults)"), "field"),
        ("movie-x/0001/genre", "genre", (cafe, "Drama"), ("genre", cafe), "field"),
    ]
    assert [s.document for s in loaded.samples[1:]] == [f"Genre: {comedy}\nRated: R", f"Up\nGenre {cafe} Drama"]
    assert loaded.left_out == {"no answer": 1}
    assert loaded.counted == {"answer not in the document": 1}


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        (
            {PAGE("0001"): None},
            {"got": containing("page 0001", "table"), "naming": "genre.txt"},
        ),
        ({PAGE("0002"): "a"}, {"got": containing("page 0002", "archive")}),
        ({GENRE: None, NAME: None}, {"got": "movie-x", "naming": "ground truth"}),
        ({PAGE("0000"): None, PAGE("0001"): None}, {"got": None, "allowed": containing("0000.htm")}),
        ({GENRE: "movie\ty\tgenre\n1\t1\t1\t1\n"}, {"got": "movie\ty\tgenre", "naming": "genre.txt"}),
        ({GENRE: ""}, {"got": containing("empty"), "naming": "genre.txt"}),
        ({GENRE: "movie\tx\tgenre\n1\n0000\t2\tDrama\n"}, {"got": "2 for 1 values", "naming": "page 0000"}),
        ({GENRE: "movie\tx\tgenre\n1\n0000\n"}, {"got": containing("for 0 values"), "naming": "page 0000"}),
        ({GENRE: "movie\tx\tgenre\n1\n0000\t1\ta\n0000\t1\ta\n"}, {"got": containing("twice"), "naming": "page 0000"}),
        ({PAGE("0000"): b"caf\xe9"}, {"got": containing("0xe9", "position 3"), "naming": ("0000.htm", "utf-8")}),
        ({GENRE: b"movie\tx\tgenre\n\xe9"}, {"got": "byte 14", "naming": ("genre.txt", "UTF-8")}),
    ],
)
def test_what_does_not_fit_is_refused(archived, tmp_path, changed, fields):
    archived(ARCHIVE, {name: text for name, text in {**FILES, **changed}.items() if text is not None})
    with refused(BadInput, **fields):
        sort_out(swde(tmp_path))


def test_a_page_without_text_is_counted(archived, tmp_path):
    archived(ARCHIVE, {**FILES, PAGE("0000"): "<script>all of it</script>"})
    assert sort_out(swde(tmp_path)).left_out == {"no answer": 1, "document without text": 2}


def test_more_text_than_the_memory_should_hold_is_refused(archived, tmp_path, monkeypatch):
    archived(ARCHIVE, FILES)
    monkeypatch.setattr("reread.tasks.swde.LARGEST_WHOLE", 20)
    with refused(BadInput, naming=(ARCHIVE, "too much text")):
        sort_out(swde(tmp_path))


@pytest.mark.slow
def test_the_real_archive(real):
    """22 sites, 154 pages, 588 values (SOURCES.md), and every value stands in the text of its page."""
    loaded = TASKS["swde"].load(real)
    assert len(loaded.samples) == 588
    assert len({s.id.split("/")[0] for s in loaded.samples}) == 22
    assert len({s.id.rsplit("/", 1)[0] for s in loaded.samples}) == 154
    inside = Counter(s.id.split("/")[0] for s in loaded.samples if all(a in s.document for a in s.answers))
    assert inside == Counter(s.id.split("/")[0] for s in loaded.samples)
    assert loaded.left_out == {"no answer": 21}
