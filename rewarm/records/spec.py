"""What `rewarm corpus records` is asked: sources, their fields and edges, and how clusters are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from rewarm.methods import Options, checked
from rewarm.plan_file import read_yaml
from rewarm.quantities import PositiveCount, Share
from rewarm.stages import Name, repeated

Kind = Literal["jsonl", "json", "csv", "tsv", "parquet"]
Word = Annotated[str, Field(min_length=1)]
ARMS = ("cluster", "isolated", "shuffled")
AUTO = "auto"


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[Word, ...], BeforeValidator(_several)]


class Edge(Options):
    """One type of edge. `field` is the dotted path of what makes it.

    `same` connects records whose field has the same value (or shares one of the values of a list), in every source
    that has an edge of the same name. `tree` connects a node of a category tree with its parent: the field holds the
    path of names, cut at `separator`, or with `to` the parent's id. `link` connects a record with those whose ids its
    field holds, or whose field `to` holds the value: `to: products` is the id of a record of that source (a foreign
    key, a co-purchase), `to: products.sku` another field. A value that more than `most` records share is no edge.
    """

    kind: Literal["same", "tree", "link"] = "same"
    field: Word
    name: Word | None = None
    to: Word | None = None
    separator: Word = " > "
    weight: Annotated[float, Field(gt=0)] = 1.0
    most: PositiveCount | None = None

    SYNONYMS: ClassVar[dict[str, str]] = {"type": "kind", "target": "to", "by": "field"}

    @model_validator(mode="after")
    def _keys_agree(self) -> Edge:
        if self.kind == "same" and self.to is not None:
            raise ValueError("'to' goes with kind link (another record) or tree (the parent's id)")
        return self

    @property
    def title(self) -> str:
        """The name given, or else its field's."""
        return self.name or self.field


def _edges(value: Any) -> Any:
    """Edges from a list of them or of names of fields, whose values are to be the same; `kind:field` names a kind."""
    if value is None or value == AUTO:
        return None
    if value == "none":
        return ()
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(edge_of(item) if isinstance(item, str) else item for item in value)


def edge_of(text: str) -> dict[str, str]:
    """`brand`, `tree:path`, `link:related_ids` or `link:product_id->products` as the options of an edge."""
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("same", "tree", "link"):
        kind, rest = "same", text
    field, arrow, to = rest.partition("->")
    return {"kind": kind, "field": field.strip()} | ({"to": to.strip()} if arrow else {})


class Source(Options):
    """Records of one kind: files of rows.

    `under` is the dotted key that holds the records in a JSON file. `id` and `title` name fields; `auto` looks for
    them, null has none: ids are then places. `edges` are looked for too where they are not given (`none`: none).
    `fields` are the only ones read, `drop` those left out, each with all below it. `texts` are fields that are nodes
    of their own (a description, reviews: each item of a list is a node); all others together are the record's
    attribute table. `flat` fields hold `key#:#value#;#key...`, whose two separators `flat_separators` gives. `keep`
    fields are written although they look like ids or addresses; `rename` gives fields other names in the text, with
    all below them (`specs: ""` writes `specs.size` as `size`). `weight` is the source's share of the text among
    those that have a weight; a source that must be cut to it gives other records in every epoch.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "type": "kind", "id_field": "id", "title_field": "title", "text": "texts", "edge": "edges", "records": "under",
        "skip": "drop", "exclude": "drop", "include": "fields", "names": "rename",
    }  # fmt: skip

    path: Word | Annotated[tuple[Word, ...], Field(min_length=1)]
    kind: Kind | None = None
    under: Word | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    id: Word | None = AUTO
    title: Word | None = AUTO
    fields: Words | None = None
    drop: Words = ()
    rename: dict[Word, str] = Field(default_factory=dict)
    keep: Words = ()
    texts: Words = ()
    flat: Words = ()
    flat_separators: tuple[Word, Word] = ("#:#", "#;#")
    edges: Annotated[tuple[Edge, ...] | None, BeforeValidator(_edges)] = None
    weight: Annotated[float, Field(gt=0)] | None = None
    max_row_bytes: PositiveCount = 16_000_000

    @model_validator(mode="after")
    def _edges_are_different(self) -> Source:
        for name in repeated([edge.title for edge in self.edges or ()]):
            raise ValueError(f"two edges are called '{name}': give one another 'name'")
        return self


class Spec(Options):
    """Sources by name, and how documents are made of their nodes.

    A cluster grows by `walk`: along a random walk, or breadth first, until it holds `limit` bytes (tokens with a
    tokenizer), or `most_nodes`. `template` writes attributes as sentences, `template_share` of them, always the same
    ones. `most_items` of a list are written; mappings deeper than `depth` are dropped. `holdout` is the share of
    records that are in no epoch, but in a file of their own.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"seq_len": "limit", "length": "limit", "max_bytes": "limit"}

    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    limit: PositiveCount = 4000
    most_nodes: Annotated[int, Field(ge=2)] = 64
    walk: Literal["random", "breadth"] = "random"
    template: Word | None = None
    template_share: Share = 1.0
    most_items: PositiveCount = 64
    depth: Annotated[int, Field(ge=1, le=64)] = 8
    seed: int = 0
    holdout: Share = 0.0
    bad_rows: Share = 0.001

    @model_validator(mode="after")
    def _values_agree(self) -> Spec:
        if self.template is not None and not all(part in self.template for part in ("{key}", "{value}")):
            raise ValueError('template needs {key} and {value}, as in "The {key} of {title} is {value}."')
        for name, source in self.sources.items():
            for edge in source.edges or ():
                target = (edge.to or name).partition(".")[0]
                if target not in self.sources:
                    known = ", ".join(self.sources)
                    raise ValueError(f"edge '{edge.title}' of '{name}' goes to '{target}', which is no source: {known}")
        kinds: dict[str, str] = {}
        for source in self.sources.values():
            for edge in source.edges or ():
                if kinds.setdefault(edge.title, edge.kind) != edge.kind:
                    raise ValueError(f"edge '{edge.title}' is of two kinds: give one another 'name'")
        return self


def read_spec(file: Path) -> Spec:
    """The spec in a YAML file, its paths relative to the working folder; UserError that lists every fault."""
    values = read_yaml(file, "Give a YAML file with 'sources', each with a 'path' by its name", "spec")
    return checked(Spec, values, "")
