from pathlib import Path

import pytest

from rewarm.corpora.code import Code
from rewarm.types import UserError


def tree(top: Path, names: list[str]) -> None:
    for name in names:
        file = top / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}", encoding="utf-8")


READ = ["include/a.H", "lib/b.rs", "main.py", "src/a.cpp", "src/deep/er/c.tsx"]
LEFT_OUT = [
    ".git/hook.py",
    ".hidden.py",
    ".venv/lib/x.py",
    "README.md",
    "data.json",
    "lib/target/gen.rs",
    "node_modules/pkg/index.js",
    "src/__pycache__/a.py",
    "src/build/out.py",
]


def test_tree_gives_source_files_with_path_and_language(tmp_path, collect):
    tree(tmp_path, READ + LEFT_OUT)
    documents, bad = collect(Code(path=str(tmp_path)))
    assert [(document.id, document.meta["language"]) for document in documents] == [
        ("include/a.H", "c"),
        ("lib/b.rs", "rust"),
        ("main.py", "python"),
        ("src/a.cpp", "c++"),
        ("src/deep/er/c.tsx", "typescript"),
    ]
    assert documents[3].text == "content of src/a.cpp"
    assert documents[3].meta["path"] == "src/a.cpp"
    assert bad.total == 0


def test_pattern_leaves_out_the_same_folders(tmp_path):
    tree(tmp_path, READ + LEFT_OUT)
    files = Code(path=f"{tmp_path}/**/*.py").files()
    assert files == [tmp_path / "main.py"]
    assert Code(path=f"{tmp_path}/*").files() == Code(path=str(tmp_path)).files()
    assert Code(path=f"{tmp_path}/**").files() == Code(path=str(tmp_path)).files()


def test_environments_and_caches_are_known_by_their_marker(tmp_path):
    tree(tmp_path, ["a.py", "env/bin/b.py", "env/pyvenv.cfg", "out/c.py", "out/CACHEDIR.TAG", "env2/d.py"])
    assert Code(path=str(tmp_path)).files() == [tmp_path / "a.py", tmp_path / "env2" / "d.py"]
    assert Code(path=f"{tmp_path}/**/*.py").files() == [tmp_path / "a.py", tmp_path / "env2" / "d.py"]


def test_folder_named_outright_is_read_whatever_its_name(tmp_path):
    tree(tmp_path, ["build/a.py", "build/build/b.py"])
    assert Code(path=str(tmp_path / "build")).files() == [tmp_path / "build" / "a.py"]
    assert len(Code(path=str(tmp_path / "build"), skip_folders=()).files()) == 2


def test_files_without_text_are_none_and_others_are_counted(tmp_path, collect):
    (tmp_path / "__init__.py").write_bytes(b"")
    (tmp_path / "blank.py").write_bytes(b"\n")
    (tmp_path / "good.py").write_bytes(b"x = 1\n")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9")
    (tmp_path / "video.ts").write_bytes(b"G\0\xff")
    documents, bad = collect(Code(path=str(tmp_path)))
    assert [document.id for document in documents] == ["good.py"]
    assert bad.examples == {"not UTF-8": [f"{tmp_path}/latin.py"], "binary file": [f"{tmp_path}/video.ts"]}


def test_large_files_are_left_out(tmp_path):
    (tmp_path / "a.py").write_bytes(b"x" * 100)
    (tmp_path / "b.py").write_bytes(b"x" * 101)
    assert Code(path=str(tmp_path), max_bytes=100).files() == [tmp_path / "a.py"]
    with pytest.raises(UserError, match="all 2 source files are larger than max_bytes 50"):
        Code(path=str(tmp_path), max_bytes=50).files()


def test_suffixes_can_be_chosen_with_or_without_dot(tmp_path, collect):
    tree(tmp_path, ["a.py", "b.Foo"])
    documents, _ = collect(Code(path=str(tmp_path), suffixes=["foo"]))
    assert [(document.id, document.meta["language"]) for document in documents] == [("b.Foo", "foo")]


def test_links_to_folders_are_not_followed(tmp_path):
    tree(tmp_path, ["repo/a.py", "elsewhere/b.py"])
    (tmp_path / "repo" / "link").symlink_to(tmp_path / "elsewhere")
    assert Code(path=str(tmp_path / "repo")).files() == [tmp_path / "repo" / "a.py"]
