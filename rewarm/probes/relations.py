"""How common relations are said in a sentence, in words of our own.

Wikidata's name of a property, its number, and sentences with `[X]` for the subject and `[Y]` for the object. The first
nine are the relations of TempLAMA (arXiv 2106.15110). The object ends every sentence, so that a causal model can be
asked.
"""

from __future__ import annotations

from collections.abc import Iterator

_TABLE = """
P54 | member of sports team | [X] plays for [Y]. | The team of [X] is [Y].
P39 | position held | [X] holds the office of [Y]. | The office held by [X] is [Y].
P108 | employer | [X] is employed by [Y]. | The employer of [X] is [Y].
P102 | member of political party | The political party of [X] is [Y]. | [X] is a member of the party [Y].
P286 | head coach | The head coach of [X] is [Y]. | [X] is coached by [Y].
P69 | educated at | [X] was educated at [Y]. | [X] studied at [Y].
P488 | chairperson | The chairperson of [X] is [Y]. | [X] is chaired by [Y].
P6 | head of government | The head of government of [X] is [Y]. | The government of [X] is led by [Y].
P127 | owned by | The owner of [X] is [Y]. | [X] belongs to [Y].
P17 | country | The country of [X] is [Y]. | [X] lies in [Y].
P19 | place of birth | The birthplace of [X] is [Y]. | [X] was born in [Y].
P20 | place of death | The place of death of [X] is [Y]. | [X] died in [Y].
P21 | sex or gender | The gender of [X] is [Y].
P22 | father | The father of [X] is [Y].
P25 | mother | The mother of [X] is [Y].
P26 | spouse | The spouse of [X] is [Y]. | [X] is married to [Y].
P27 | country of citizenship | [X] is a citizen of [Y]. | The citizenship of [X] is that of [Y].
P30 | continent | The continent of [X] is [Y]. | [X] lies on the continent of [Y].
P31 | instance of | [X] is an example of a [Y].
P35 | head of state | The head of state of [X] is [Y].
P36 | capital | The capital of [X] is [Y]. | The seat of government of [X] is in the city of [Y].
P37 | official language | The official language of [X] is [Y].
P38 | currency | The currency of [X] is the [Y].
P40 | child | A child of [X] is [Y].
P50 | author | The author of [X] is [Y]. | [X] was written by [Y].
P57 | director | The director of [X] is [Y]. | [X] was directed by [Y].
P58 | screenwriter | The screenplay of [X] is by [Y].
P86 | composer | The music of [X] was composed by [Y].
P98 | editor | The editor of [X] is [Y].
P101 | field of work | The field of work of [X] is [Y].
P103 | native language | The native language of [X] is [Y].
P105 | taxon rank | The taxonomic rank of [X] is [Y].
P106 | occupation | The occupation of [X] is [Y]. | By profession, [X] is a [Y].
P112 | founded by | The founder of [X] is [Y]. | [X] was founded by [Y].
P115 | home venue | The home ground of [X] is [Y].
P118 | league | The league in which [X] plays is [Y].
P119 | place of burial | The burial place of [X] is [Y].
P123 | publisher | The publisher of [X] is [Y].
P131 | located in the administrative territorial entity | [X] is situated in [Y].
P136 | genre | The genre of [X] is [Y].
P137 | operator | The operator of [X] is [Y].
P138 | named after | [X] is named after [Y].
P140 | religion or worldview | The religion of [X] is [Y].
P159 | headquarters location | The headquarters of [X] are in [Y].
P161 | cast member | A member of the cast of [X] is [Y].
P162 | producer | The producer of [X] is [Y].
P166 | award received | An award received by [X] is [Y].
P169 | chief executive officer | The chief executive of [X] is [Y].
P171 | parent taxon | The parent taxon of [X] is [Y].
P175 | performer | The performer of [X] is [Y].
P176 | manufacturer | The manufacturer of [X] is [Y].
P178 | developer | The developer of [X] is [Y].
P190 | twinned administrative body | A twin town of [X] is [Y].
P264 | record label | The record label of [X] is [Y].
P276 | location | The location of [X] is [Y].
P279 | subclass of | [X] is a kind of [Y].
P355 | has subsidiary | A subsidiary of [X] is [Y].
P361 | part of | [X] is part of [Y].
P364 | original language of film or TV show | The original language of [X] is [Y].
P400 | platform | The platform of [X] is [Y].
P407 | language of work or name | The language of [X] is [Y].
P413 | position played on team / speciality | The position played by [X] is [Y].
P449 | original broadcaster | The original broadcaster of [X] is [Y].
P452 | industry | The industry of [X] is [Y].
P463 | member of | [X] is a member of [Y].
P495 | country of origin | The country of origin of [X] is [Y].
P530 | diplomatic relation | [X] has diplomatic relations with [Y].
P551 | residence | The residence of [X] is in [Y].
P607 | conflict | [X] took part in the [Y].
P641 | sport | The sport of [X] is [Y].
P710 | participant | A participant of [X] is [Y].
P740 | location of formation | [X] was formed in [Y].
P749 | parent organization | The parent organization of [X] is [Y].
P750 | distributed by | The distributor of [X] is [Y].
P800 | notable work | A notable work of [X] is [Y].
P937 | work location | The place where [X] works is [Y].
P47 | shares border with | [X] borders on [Y].
P134 | has dialect | A dialect of [X] is [Y].
P155 | follows | What comes before [X] is [Y].
P156 | followed by | What comes after [X] is [Y].
P170 | creator | The creator of [X] is [Y].
P241 | military branch | The military branch of [X] is [Y].
P410 | military or paramilitary rank | The military rank of [X] is [Y].
P527 | has part(s) | A part of [X] is [Y].
P674 | characters | A character of [X] is [Y].
P734 | family name | The family name of [X] is [Y].
P735 | given name | The given name of [X] is [Y].
P768 | electoral district | The electoral district of [X] is [Y].
P840 | narrative location | The story of [X] takes place in [Y].
P921 | main subject | The main subject of [X] is [Y].
P1344 | participant in | [X] took part in [Y].
P1346 | winner | The winner of [X] is [Y].
P1365 | replaces | The predecessor of [X] is [Y].
P1366 | replaced by | The successor of [X] is [Y].
P1532 | country for sport | In sport, [X] represents [Y].
P3373 | sibling | A sibling of [X] is [Y].
P6886 | writing language | The language in which [X] writes is [Y].
P7959 | historic county | The historic county of [X] is [Y].
P1001 | applies to jurisdiction | [X] applies in [Y].
P1037 | director / manager | The manager of [X] is [Y].
P1303 | instrument | The instrument played by [X] is the [Y].
P1308 | officeholder | The holder of the office of [X] is [Y].
P1376 | capital of | [X] is the capital of [Y].
P1412 | languages spoken, written or signed | A language that [X] speaks is [Y].
P1448 | official name | The official name of [X] is [Y].
P1830 | owner of | [X] owns [Y].
| chief of state | The chief of state of [X] is [Y].
| government type | The form of government of [X] is [Y].
| national holiday | The national holiday of [X] is [Y].
| population | The population of [X] is [Y].
| currency code | The currency code of [X] is [Y].
| internet country code | The internet country code of [X] is [Y].
| official long name | The official long name of [X] is [Y].
| office held | [X] holds the office of [Y]. | The office held by [X] is [Y].
"""


def built_in() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every name of a relation, words and number, with its sentences."""
    for line in _TABLE.strip().splitlines():
        number, name, *sentences = (part.strip() for part in line.split(" | ")) if line[0] == "P" else _unnumbered(line)
        yield name, tuple(sentences)
        if number:
            yield number, tuple(sentences)


def _unnumbered(line: str) -> list[str]:
    return ["", *(part.strip() for part in line.removeprefix("| ").split(" | "))]
