"""Golden sketches, and the laws over a sample of the standard library."""

from __future__ import annotations

import sysconfig
import warnings
from pathlib import Path

import pytest

from rewarm.hashing import text_hash
from rewarm.sketches.blocks import interleave, recovered
from rewarm.sketches.sketching import MODES, Settings, sketch
from rewarm.sketches.source import NOT_PYTHON, TOO_DEEP, Unsketchable

NAMES, BOTH = Settings("names"), Settings("both")
SOURCES = [
    "@deco(1)\nasync def f(a, /, b=',', *, c: 'int' = 3): return {**a}\n",
    "match x:\n    case 'a' | -1: y = 'a'\n    case {'k': 2, **rest}: pass\n    case [1, *b] as a if a: pass\n",
    "\ufeff# -*- coding: latin-1 -*-\r\nx = '''a\r\nb'''\r\nif x:\r\n\ty = 1\r\n\x0cz = \\\r\n  2",
    "é = 'ü'; print(f'{é!r:>{w}} {é=}', 'a' \"b\" \\\n 'c')\n",
    "x = ('a'  # first\n     'b').join(y)\n",
    "try: pass\nexcept (A) as error: print(error)\n",
    "def f():\n    global a\n    a = 1\n    def g():\n        nonlocal_ = 2\n        return a\n    return g\n",
    "print(f'{[x for x in y]} {(lambda z: z)(1)} {{no}} {\"}\"}', f'''{\n a\n}''')\n",
    "",
    "# only a comment",
]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = f(1, 1.5, 1e5, 2j, 0xE5, 1_0, .5, 1E5j)",
         "x = f(number, float, floatexponant, complex, number, number, float, complex)"),
        ("x = 'a', r'a', f'a{b}', rF'a{b}', b'a', Rb'a', u'a'",
         "x = string, rawstring, interstring, interrawstring, binarystring, binaryrawstring, unicodestring"),
        ("df = pd.read_csv(path, sep=',', dtype={'a': 1.5})  # read",
         "df = pd.read_csv(path, sep=string, dtype={string: float})  # read"),
        ("return_ = 1if x else'a'", "return_ = number if x else string"),
        ("x = 1 .real + 1..real", "x = number .real + float.real"),
        ("x = 'a' 'b' \\\n  'c'.join(y)", "x = string.join(y)"),
        ("x = ('a'  # one\n     'b')", "x = (string  # one\n     )"),
        ("x = 'a' f'{b}' r'c'", "x = interstring"),
        ("print(f'{x!r:>{w}} {\"a\"}')", "print(interstring)"),
        ("if (n := 10) > 5: pass", "if (n := number) > number: pass"),
        ("def f():\n    '''Doc.'''\n    '''no doc'''", "def f():\n    '''Doc.'''\n    string"),
        ("def f():\n    'Doc.'", "def f():\n    string"),
        ("'Doc.'\nfrom __future__ import annotations\nx = 'a'",
         "'Doc.'\nfrom __future__ import annotations\nx = string"),
        ("match x:\n    case 'a' if x == 'b': y = 1\n    case -1: pass",
         "match x:\n    case 'a' if x == string: y = number\n    case -1: pass"),
        ("@deco('a')\nasync def f(a, /, *, b=1):\n    await a[1:2]\r\n",
         "@deco(string)\nasync def f(a, /, *, b=number):\n    await a[number:number]\r\n"),
    ],
)  # fmt: skip
def test_constants(source: str, expected: str) -> None:
    assert sketch(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def area(width, n=1): return width * n\nprint(area(2, n=3))",
         "def func(var, var2=1): return var * var2\nprint(func(2, var2=3))"),
        ("import os as system\nfrom a import b\nx = system.path(b, key=x)",
         "import os as system\nfrom a import b\nvar = system.path(b, key=var)"),
        ("class A:\n    k = 1\n    def get(self, x=0): return self.k + x\na = A()\na.get(x=1)",
         "class AnClass:\n    k = 1\n    def get(self, var=0): return self.k + var\nvar2 = AnClass()\nvar2.get(x=1)"),
        ("class A:\n    def __init__(self, n): self.n = n\nA(n=1)",
         "class AnClass:\n    def __init__(self, var): self.n = var\nAnClass(n=1)".replace("(n=1)", "(var=1)")),
        ("x = 1\ndef f():\n    global x\n    x += len(y)\n    print(f'{x!r:>{x}} {x=} {{x}}')",
         "var = 1\ndef func():\n    global var\n    var += len(y)\n    print(f'{var!r:>{var}} {var=} {{x}}')"),
        ("func = 1\nimport var\nn = 2", "var2 = 1\nimport var\nvar3 = 2"),
        ("print([x for x in list(y)], lambda x: x)", "print([var for var in list(y)], lambda var: var)"),
        ("match a:\n    case {'k': v, **rest}: print(v, rest)\n    case [b, *c] as d: b, c, d",
         "match a:\n    case {'k': var, **var2}: print(var, var2)\n    case [var3, *var4] as var5: var3, var4, var5"),
    ],
)  # fmt: skip
def test_names(source: str, expected: str) -> None:
    assert sketch(source, NAMES) == expected


def test_both_never_takes_a_marker_for_a_name() -> None:
    assert (
        sketch("string = 'a'\nprint(string, 'b', f'{string}')", BOTH) == "var = string\nprint(var, string, interstring)"
    )


def test_comments_and_docstrings_go_when_asked() -> None:
    source = '"""Doc."""\n# a line\nx = 1  # behind\n\ndef f():\n    # alone\n    return "#"\n'
    expected = "string\nx = number\n\ndef f():\n    return string\n"
    assert sketch(source, Settings(keep_docstrings=False, strip_comments=True)) == expected
    assert sketch("x = 1\n# end", Settings(strip_comments=True)) == "x = number\n"


@pytest.mark.parametrize("settings", [Settings(mode, True, strip) for mode in MODES for strip in (False, True)])  # type: ignore[arg-type]
@pytest.mark.parametrize("source", SOURCES)
def test_laws(source: str, settings: Settings) -> None:
    made = sketch(source, settings)
    compile(made.removeprefix("\ufeff"), "sketch", "exec")
    assert sketch(made, settings) == made
    document = interleave(source, settings)
    assert recovered({"text": document.text, "blocks": document.spans}) == source


@pytest.mark.parametrize(
    ("source", "reason", "detail"),
    [
        ("def f(:", NOT_PYTHON, "line 1"),
        ("x = 'a", NOT_PYTHON, "line 1"),
        ("print 'a'", NOT_PYTHON, "line 1"),
        ("x = 1\0", NOT_PYTHON, "null"),
        ("(" * 5000 + ")" * 5000, TOO_DEEP, ""),
    ],
)
def test_what_has_no_sketch_says_why(source: str, reason: str, detail: str) -> None:
    with pytest.raises(Unsketchable) as caught:
        sketch(source)
    assert str(caught.value) in (reason, NOT_PYTHON)
    assert detail in caught.value.detail


def test_the_standard_library() -> None:
    """One file in a hundred; studies/sketches tries them all. Each is sketched, or says why it is not."""
    root = Path(sysconfig.get_path("stdlib"))
    files = [file for file in root.rglob("*.py") if "site-packages" not in file.parts and file.stat().st_size < 60_000]
    chosen = [file for file in files if text_hash(str(file.relative_to(root))) % 100 == 0]
    assert len(chosen) >= 4
    without = []
    for file in chosen:
        content = file.read_bytes()
        try:
            text = content.decode("utf-8")
            for settings in (Settings(), BOTH, NAMES):
                made = sketch(text, settings)
                assert sketch(made, settings) == made, file
        except (UnicodeDecodeError, Unsketchable):
            without.append(file)
            continue
        document = interleave(text, Settings())
        assert recovered({"text": document.text, "blocks": document.spans}).encode() == content
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(sketch(text), "sketch", "exec")
    assert len(without) <= len(chosen) // 10
