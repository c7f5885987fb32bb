"""What a message shows of a file that may be anything."""

from __future__ import annotations

import json
from xml.etree.ElementTree import ParseError, XMLParser

import pytest

from rhoflow.materials.foreign import kind_of, shown


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("6 5 -7", "'6 5 -7'"),
        ("5.43 -.5 1.2E-03 0.123-101 ******", "'5.43 -.5 1.2E-03 0.123-101 ******'"),
        ("nan Si Xx", "'nan Si Xx'"),
        ("PMG_MAPI_KEY: abcd1234", "'<text> <text>'"),
        ("password=x 12", "'<text> 12'"),
        ("123456789012345678901234567890", "'<text>'"),
        ("0123456789abcdef", "'<text>'"),
        ("", "''"),
        (" ".join("123456789"), "'1 2 3 4 5 6 7 8 ...'"),
    ],
)
def test_numbers_and_short_words_are_shown_and_no_other_text(line: str, said: str) -> None:
    assert shown(line.split()) == said
    assert shown(line.encode().split()) == said


def test_error_of_a_parser_is_named_without_what_it_read() -> None:
    with pytest.raises(ValueError, match="secret") as number:
        float("secret")
    assert kind_of(number.value) == "ValueError"
    with pytest.raises(json.JSONDecodeError) as text:
        json.loads("[1,\nsecret]")
    assert kind_of(text.value) == "JSONDecodeError in line 2"
    with pytest.raises(ParseError) as xml:
        XMLParser().feed("<a>\n<b>&secret;")
    assert kind_of(xml.value) == "ParseError in line 2"
