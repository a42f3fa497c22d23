"""What templates say."""

import pytest

from rewarm.corpora.wiki_templates import DROPPED, is_dropped, is_sheet, name_of, say


@pytest.mark.parametrize(
    ("name", "values", "named", "expected"),
    [
        ("convert", ["5", "km", "mi"], {}, "5 km"),
        ("convert", ["5", "to", "10", "km", "mi", "1"], {}, "5 to 10 km"),
        ("convert", ["5", "ft", "6", "in", "cm", "1"], {}, "5 ft 6 in"),
        ("convert", ["28,748", "km2", "1"], {"abbr": "on"}, "28,748 km2"),
        ("convert", ["3", "ft", "1"], {}, "3 ft"),
        ("height", [], {"ft": "6", "in": "2"}, "6 ft 2 in"),
        ("birth date", ["1946", "6", "14"], {"mf": "yes"}, "14 June 1946"),
        ("birth date and age", ["1946", "06", "04"], {}, "4 June 1946"),
        ("death date and age", ["2009", "6", "25", "1958", "8", "29"], {}, "25 June 2009"),
        ("start date", ["1998", "11"], {}, "November 1998"),
        ("start date", ["1998"], {}, "1998"),
        ("birth-date", ["14 June 1946"], {}, "14 June 1946"),
        ("as of", ["2016", "4"], {}, "As of April 2016"),
        ("as of", ["2016"], {"lc": "y"}, "as of 2016"),
        ("lang", ["fr", "mot juste"], {}, "mot juste"),
        ("lang-fr", ["mot juste"], {"links": "no"}, "mot juste"),
        ("nihongo", ["Tokyo", "東京", "Tōkyō"], {}, "Tokyo (東京, Tōkyō)"),
        ("hlist", ["a", "b"], {}, "a, b"),
        ("plainlist", ["\n* a\n* b\n"], {}, "a, b"),
        ("val", ["1.5"], {"e": "6", "ul": "m"}, "1.5 × 10^6 m"),
        ("val", ["12", "3"], {}, "12 ± 3"),
        ("frac", ["3", "1", "2"], {}, "3 1/2"),
        ("frac", ["4"], {}, "1/4"),
        ("circa", ["1500"], {}, "c. 1500"),
        ("chem", ["H", "2", "O"], {}, "H2O"),
        ("flagicon", ["USA"], {}, "USA"),
        ("nowrap", ["a b"], {}, "a b"),
        ("abbr", ["Mr", "Mister"], {}, "Mr"),
        ("url", ["a.example", "A site"], {}, "A site"),
        ("url", ["a.example"], {}, "a.example"),
        ("quote", ["To be."], {"author": "W. S."}, "\nTo be.\n\nW. S.\n"),
        ("ndash", [], {}, "–"),
        ("formatnum:1234", [], {}, "1234"),
        ("pagename", [], {}, "T"),
        ("anything", ["a", "", "b", "type:city_region:DE"], {"x": "y"}, "a b"),
        ("anything", [], {"x": "y"}, DROPPED),
        ("cite web", ["a"], {"year": "1999"}, DROPPED),
        ("citation needed", [], {"date": "May 2021"}, DROPPED),
        ("main", ["History of T"], {}, DROPPED),
    ],
)
def test_text_of_a_template(name, values, named, expected):
    assert say(name, values, named, "T") == expected


def test_names_are_told_apart_whatever_their_spelling():
    assert name_of(" Template:Cite_web\n") == "cite web"
    assert all(map(is_dropped, ("cite web", "sfn", "use dmy dates", "uk-stub", "anarchism sidebar")))
    assert not any(map(is_dropped, ("convert", "citizen", "useful", "flag", "infobox person")))
    assert all(map(is_sheet, ("infobox", "infobox country", "taxobox", "chembox", "football club infobox")))
    assert not any(map(is_sheet, ("infoboxes", "succession box", "convert")))
