"""What the two writers make of blocks: by hand, and read back by an HTML parser."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from casl.report import html, markdown
from casl.report.blocks import (
    Block,
    Bullets,
    Caution,
    Cell,
    Grid,
    Group,
    Heading,
    Lines,
    Link,
    Marked,
    Page,
    Paragraph,
    Picture,
    Preformatted,
    Raised,
    Rows,
    Text,
    Verbatim,
)

ODD = """<b> & "x" | *y* _z_ 'q'"""


class Words(HTMLParser):
    """The words of a page after its title, and its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words, self.links = "", [""]
        self.feed(text.partition("</h1>")[2].partition("</main>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "title", "alt")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize(
    "block",
    [
        Heading(ODD),
        Caution(ODD),
        Paragraph(Marked("strong", Marked("code", ODD))),
        Lines([ODD]),
        Bullets([ODD]),
        Rows([ODD], []),
        Preformatted(ODD),
        Grid([], [[Cell(ODD)]]),
        Group([Paragraph(ODD)]),
        Group([], summary=ODD),
    ],
)
def test_html_shows_every_character_of_a_text_as_it_is(block: Block) -> None:
    assert Words(html.write(Page("", [block]))).words.strip() == ODD


@pytest.mark.parametrize(
    "block",
    [Paragraph(Link("", ODD)), Picture(ODD, ""), Picture("", ODD), Grid([], [[Cell("", "td", {"title": ODD})]])],
)
def test_html_keeps_every_character_of_an_attribute(block: Block) -> None:
    assert ODD in Words(html.write(Page("", [block]))).links


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (ODD, r"""\<b\> & "x" \| \*y\* \_z\_ 'q'"""),
        (Verbatim("31.2 [2/3]"), "31.2 [2/3]"),
        (Marked("code", "a_b | c"), "`a_b | c`"),
        (Marked("best", "31.2"), "**31.2**"),
        (Marked("quoted", "31.2"), "*31.2*"),
        (("a_1", " ", Marked("word", "minus"), " ", "b"), r"a\_1 <i>minus</i> b"),
        (Marked("unbroken", "1 to 2"), "1\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}2"),
        (Link("run", "http://x"), "run"),
        (Raised("AP^e_50_x"), r"AP<sup>e</sup><sub>50</sub>\_x"),
    ],
)
def test_markdown_of_a_text(text: Text, written: str) -> None:
    assert markdown.write_blocks([Paragraph(text)]) == written


def test_the_dialects_of_markdown_differ_in_rules_and_keep_the_space_beside_raised_letters() -> None:
    blocks = [Rows([Raised("AP^e of it"), "a_b"], [["x", "1"]])]
    assert markdown.write_blocks(blocks) == "| AP<sup>e</sup> of it | a\\_b |\n| --- | --: |\n| x | 1 |"
    assert markdown.write_blocks(blocks, markdown.PROSE).splitlines()[1:] == ["|---|---|", "| x | 1 |"]
    assert "| a_b |" in markdown.write_blocks(blocks, markdown.PROSE)


def test_what_one_writer_shows_the_other_leaves_out() -> None:
    page = Page("both", [Group([Paragraph("for pages")], "html"), Group([Paragraph("for a README")], "markdown")])
    assert markdown.write(page) == "# both\n\nfor a README\n"
    assert Words(html.write(page)).words.split() == ["for", "pages"]
    embedded: list[Block] = [Picture("a picture", b"png"), Grid([], [[Cell("1")]])]
    assert markdown.write(Page("both", embedded)) == "# both\n\n\n"
