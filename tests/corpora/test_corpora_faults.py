import pytest

from rewarm.corpora.faults import check_budget
from rewarm.types import BadRows, UserError


def counted(rows: int, *faults: tuple[str, str]) -> BadRows:
    bad = BadRows(rows=rows)
    for reason, place in faults:
        bad.add(reason, place)
    return bad


def test_share_up_to_the_limit_passes_and_above_does_not():
    check_budget("news", BadRows(), 0.0)
    check_budget("news", counted(1000, ("empty text", "a:1")), 0.001)
    with pytest.raises(UserError):
        check_budget("news", counted(999, ("empty text", "a:1")), 0.001)
    with pytest.raises(UserError):
        check_budget("news", counted(10**9, ("empty text", "a:1")), 0.0)
    # 0.29 * 100 is 28.999999999999996: the law compares shares, not products.
    check_budget("news", counted(100, *[("empty text", "a:1")] * 29), 0.29)


def test_message_lists_reasons_places_and_remedies():
    places = [("broken JSON", f"a.jsonl:{number}") for number in range(1, 8)]
    with pytest.raises(UserError) as caught:
        check_budget("news", counted(3000, ("truncated file", "b.gz"), *places), 0.001)
    first, broken, truncated, last = str(caught.value).splitlines()
    assert first == "corpus 'news': 8 of 3,000 rows (0.267 %) cannot be used, and bad_rows allows 0.1 %."
    shown = ", ".join(f"a.jsonl:{number}" for number in range(1, 6))
    assert broken.startswith(f"  broken JSON: 7, at {shown}, ... (a line holds one whole JSON object")
    assert truncated == "  truncated file: 1, at b.gz (the file ends early or is damaged: write or fetch it again)"
    assert last == "Mend or drop them, or set bad_rows: 0.0027 in the plan (--bad-rows of a verb) to leave them out."


@pytest.mark.parametrize(("bad_rows", "rows"), [(1, 3), (8, 3000), (1, 7_000_000), (999, 1000), (2, 3)])
def test_the_limit_proposed_passes(bad_rows, rows):
    bad = counted(rows, *[("empty text", "a:1")] * bad_rows)
    with pytest.raises(UserError) as caught:
        check_budget("news", bad, 0.0)
    proposed = float(str(caught.value).partition("bad_rows: ")[2].split()[0])
    check_budget("news", bad, proposed)


def test_nothing_is_proposed_when_no_row_can_be_used():
    with pytest.raises(UserError, match="No row can be used") as caught:
        check_budget("news", counted(1, ("of another corpus", "a:1")), 0.001)
    assert "bad_rows:" not in str(caught.value)
