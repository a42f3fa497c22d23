"""Languages in a plan: `true`, or the language that each corpus is expected to be in, by its ISO 639-1 code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import BeforeValidator

from rewarm.methods import nearest

_CODES = (
    "af am an ar as az be bg bn br bs ca cs cy da de dz el en eo es et eu fa fi fo fr fy ga gd gl gu ha he hi hr ht hu "
    "hy id ig is it ja jv ka kk km kn ko ku ky la lb ln lo lt lv mg mk ml mn mr ms mt my ne nl nn no oc om or pa pl ps "
    "pt qu ro ru rw sa se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz vi vo wa xh yo zh zu"
)
CODES = frozenset(_CODES.split())
"""The two-letter codes that the detector knows. `no` is Norwegian in Bokmål, `nn` in Nynorsk."""
OTHER_NAMES = {
    "nb": "no", "nob": "no", "nor": "no", "nno": "nn", "eng": "en", "dan": "da", "isl": "is", "ice": "is", "swe": "sv",
    "deu": "de", "ger": "de", "fin": "fi", "fao": "fo", "fra": "fr", "spa": "es", "english": "en", "danish": "da",
    "icelandic": "is", "norwegian": "no", "swedish": "sv", "german": "de", "french": "fr", "spanish": "es", "dk": "da",
    "se-sv": "sv", "jp": "ja", "cn": "zh",
}  # fmt: skip


Code = Annotated[str, BeforeValidator(lambda value: "no" if value is False else value)]
"""A code as a plan has it: YAML reads `no` as false."""


def unknown_languages(languages: bool | Mapping[str, str], corpora: Collection[str]) -> list[str]:
    """A sentence for every corpus and every code of a plan's `languages` that there is none of."""
    if isinstance(languages, bool):
        return []
    problems = []
    for corpus, code in languages.items():
        if corpus not in corpora:
            problems.append(f"languages names '{corpus}', which is no corpus. {nearest(corpus, corpora)}")
        if code not in CODES:
            close = nearest(code.lower(), CODES, OTHER_NAMES)
            close = close if close.startswith("Did you mean") else "Give a code such as da, de, en, is, no or sv."
            problems.append(f"languages.{corpus}: '{code}' is no ISO 639-1 code that can be detected. {close}")
    return problems
