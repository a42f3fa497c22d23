"""A source tree, one document per file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from rewarm.corpora import paths
from rewarm.corpora.sources import Name, WholeFileCorpus
from rewarm.corpora.whole_files import read_text
from rewarm.quantities import Count
from rewarm.types import BadRows, Document, UserError

_SUFFIXES_OF_LANGUAGES = {
    "ada": ".adb .ads", "assembly": ".asm .s", "c": ".c .h", "c#": ".cs", "c++": ".cc .cpp .cxx .hh .hpp .hxx",
    "clojure": ".clj .cljs", "cmake": ".cmake", "cobol": ".cbl .cob", "css": ".css .less .scss", "cuda": ".cu .cuh",
    "d": ".d", "dart": ".dart", "elixir": ".ex .exs", "elm": ".elm", "erlang": ".erl .hrl", "f#": ".fs .fsi .fsx",
    "fortran": ".f .f77 .f90 .f95 .f03 .f08 .for", "go": ".go", "graphql": ".graphql", "groovy": ".gradle .groovy",
    "haskell": ".hs", "html": ".htm .html", "java": ".java", "javascript": ".cjs .js .jsx .mjs", "julia": ".jl",
    "kotlin": ".kt .kts", "lisp": ".cl .el .lisp .lsp", "lua": ".lua", "matlab": ".m", "nim": ".nim", "nix": ".nix",
    "ocaml": ".ml .mli", "pascal": ".pas", "perl": ".pl .pm", "php": ".php", "powershell": ".ps1 .psm1",
    "prolog": ".pro", "protocol buffers": ".proto", "python": ".py .pyi .pyx", "r": ".r", "ruby": ".rb .rake",
    "rust": ".rs", "scala": ".sc .scala", "scheme": ".scm .ss", "shell": ".bash .fish .sh .zsh", "solidity": ".sol",
    "sql": ".sql", "swift": ".swift", "tcl": ".tcl", "terraform": ".tf", "typescript": ".cts .mts .ts .tsx",
    "verilog": ".sv .v .vh", "vhdl": ".vhd .vhdl", "vue": ".svelte .vue", "zig": ".zig",
}  # fmt: skip
LANGUAGES = {suffix: name for name, suffixes in _SUFFIXES_OF_LANGUAGES.items() for suffix in suffixes.split()}

SKIPPED_FOLDERS = (
    "CVS", "__pycache__", "_build", "bower_components", "build", "dist", "node_modules", "site-packages", "target",
    "venv",
)  # fmt: skip
# A virtual environment holds the first; caches and Cargo's output hold the second (bford.info/cachedir).
_MARKER_FILES = ("pyvenv.cfg", "CACHEDIR.TAG")


def _dotted(suffix: object) -> object:
    return f".{suffix.lower().removeprefix('.')}" if isinstance(suffix, str) and suffix else suffix


class Code(WholeFileCorpus):
    """One document per source file; its meta holds `path`, relative to the tree, and `language`.

    Of a folder, files with one of the `suffixes` are taken, at any depth; folders named in `skip_folders`, hidden
    folders, virtual environments and caches are not entered, and links to folders not followed. Files of more than
    `max_bytes` bytes are generated or data, and are left out. Files without text, such as most `__init__.py`, are no
    documents and no faults; binary files and files that are not UTF-8 are bad rows.
    """

    meta_fields: ClassVar[tuple[str, ...]] = ("path", "language")

    suffixes: Annotated[tuple[Annotated[Name, BeforeValidator(_dotted)], ...], Field(min_length=1)] = tuple(LANGUAGES)
    skip_folders: tuple[Name, ...] = SKIPPED_FOLDERS
    max_bytes: Count = 1_000_000

    def files(self) -> list[Path]:
        """The source files of at most `max_bytes`, sorted by path, each once; UserError when there are none."""
        found = super().files()
        small = [file for file in found if os.path.getsize(file) <= self.max_bytes]
        if not small:
            raise UserError(
                f"path {self.path!r}: all {len(found)} source files are larger than max_bytes {self.max_bytes}. "
                "Raise max_bytes, or name another path."
            )
        return small

    def _folder_rule(self) -> paths.FolderRule:
        return paths.FolderRule(
            frozenset(self.suffixes), frozenset(self.skip_folders), _MARKER_FILES, follow_links=False
        )

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        for file, name in self._named_files():
            text = read_text(file, self.max_bytes, bad)
            if text is not None:
                suffix = paths.suffix_of(name)
                meta = {"path": name, "language": LANGUAGES.get(suffix, suffix.removeprefix("."))}
                yield Document(name, text, paths.printable(file), meta)
