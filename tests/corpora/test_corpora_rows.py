from rewarm.corpora.rows import SeenIds


def test_seen_ids_agree_with_a_set_while_the_table_grows():
    seen, expected = SeenIds(), set()
    for number in range(40_000):
        name = str(number * 7919 % 30_011)
        assert seen.add(name) == (name not in expected)
        expected.add(name)
    assert len(expected) == 30_011
