"""Datasets of the Hugging Face hub, or local folders that the `datasets` library understands."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rewarm.corpora import paths
from rewarm.corpora.rows import EVERY, RowReader
from rewarm.corpora.sources import FieldCorpus, Name
from rewarm.hub import dataset_commit
from rewarm.methods import nearest
from rewarm.types import BadRows, Document, UserError


class Hub(FieldCorpus):
    """Documents from one split of a dataset, read as a stream; needs the extra `rewarm[hub]`.

    `name` is a dataset of the hub or a local folder, `config` one of its configurations, `revision` a branch, tag or
    commit. A branch is read at one commit, which prepared text keeps; text prepared anew may be of another one. With
    `streaming` false the dataset is first stored in the library's cache, which pays when it is read many times.
    Datasets that need code of their own are not read.
    Without `id_field`, the id is `<split>:<row>`, counted from 1.

    The library reads many rows at a time and gives up at the first that it cannot: that is an error, not a bad row.
    The corpora `jsonl` and `parquet` count such rows and go on.
    """

    name: Name
    config: Name | None = None
    split: Name = "train"
    revision: Name | None = None
    streaming: bool = True

    def files(self) -> list[Path]:
        """The files of a local folder, hidden ones left out, sorted by path; empty for a dataset of the hub."""
        folder = Path(self.name).expanduser()
        found = (Path(inside, name) for inside, _, names in os.walk(folder) for name in names)
        visible = (file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))
        return sorted((file for file in visible if file.is_file()), key=Path.as_posix)

    def commit(self) -> str | None:
        """The commit of a dataset of the hub, one for all reads of a process; None for a folder, or where none is told.

        Prepared text keeps it in its manifest.
        """
        return None if Path(self.name).expanduser().exists() else dataset_commit(self.name, self.revision)

    def _documents(self, bad: BadRows) -> Iterator[Document]:
        reader = RowReader(self.text_field, self.id_field, self._meta_fields(), bad)
        origin = paths.printable(self.name)
        for number, row in enumerate(self._rows(), 1):
            document = reader.document(row, f"{self.split}:{number}", f"{origin}/{self.split}:{number}")
            if document is not None:
                yield document

    def _rows(self) -> Iterator[dict[str, Any]]:
        rows = iter(self._selected())
        read = 0
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except (ValueError, TypeError, OSError, NotImplementedError) as error:
                raise UserError(
                    f"dataset '{self.name}', split '{self.split}': the datasets library stopped after row {read}: "
                    f"{error}. Fix the row, or read the files with the corpus jsonl or parquet, which count such rows."
                ) from error
            read += 1
            yield row

    def _selected(self) -> Any:
        """The split, with only the columns that reach a document where the library knows them."""
        dataset = self._loaded()
        columns = dataset.column_names
        if columns is None:
            return dataset
        if self.text_field not in columns:
            raise UserError(
                f"dataset '{self.name}' has no column '{self.text_field}' (text_field). "
                f"{nearest(self.text_field, columns)}"
            )
        read = self._fields_read()
        return dataset if EVERY in read else dataset.select_columns([field for field in read if field in columns])

    def _loaded(self) -> Any:
        try:
            import datasets
        except ImportError:
            raise UserError(
                "the corpus type 'hub' needs the datasets library. Install it with: pip install rewarm[hub]"
            ) from None
        name = str(Path(self.name).expanduser()) if self.files() else self.name
        try:
            return datasets.load_dataset(
                name, self.config, split=self.split, revision=self.commit() or self.revision, streaming=self.streaming
            )
        except (ValueError, OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
            raise UserError(
                f"dataset '{self.name}', config '{self.config}', split '{self.split}', revision '{self.revision}' "
                f"cannot be loaded: {error.__cause__ or error}"
            ) from error
