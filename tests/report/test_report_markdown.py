"""report.md: the numbers are there, and names from outside break no table and become no HTML."""

from rewarm.report.markdown import markdown, plain
from rewarm.report.result import Result


def test_the_matrix_has_the_numbers(normal: Result) -> None:
    text = markdown(normal)
    assert "| Model | Tokens | web (old, proxy) | books (old) | papers (new) | code (new) |" in text
    assert "| base | 0 | 0.8000 | 1.0000 | 1.2500 | 0.5000 |" in text
    assert (
        "| code-stage | 20M | ▲ +2.10% [+1.80, +2.40], 0.8168 | ≈ −0.20% [−0.60, +0.20], 0.9980 | "
        "▼ −8.00% [−8.60, −7.40], 1.1500 | ▼ −20.0% [−21.0, −19.0], 0.4000 |"
    ) in text
    assert "| new-only (control) | +7.50% [+7.11, +7.89] | −14.0% [−14.6, −13.4] |" in text


def test_the_other_tables_have_the_numbers(normal: Result) -> None:
    text = markdown(normal)
    assert "| this run | code-stage | web | replay | 5.0% | 8.0% | 800k | 1.03 |" in text
    assert "| this run | papers-stage | 10M | 610 | 1 h 01 min | 2.7k | 6.60e+16 | 41.0% |" in text
    assert "| papers | 31: duplicate of a held-out document | 12000 | 9.5M | 38M | 200 | 12209 | 9 |" in text
    assert "- papers, 7 bad rows: no field 'text'. First: papers.jsonl:14, papers.jsonl:90" in text
    assert "| Forgetting | +0.0500 nats/byte |" in text
    assert "| this run | code-stage | 100 | 3.2900 | 2.2000 | 0.000191 | 2e-05 |" in text
    assert "```\nrewarm train plan.yaml\n```" in text


def test_every_table_is_rectangular(normal: Result) -> None:
    widths: list[set[int]] = [set()]
    for line in markdown(normal).splitlines():
        if line.startswith("|"):
            widths[-1].add(line.count("|"))
        elif widths[-1]:
            widths.append(set())
    assert len(widths) == 9
    assert all(len(width) == 1 for width in widths if width)


def test_the_least_run_has_a_report(minimal: Result) -> None:
    text = markdown(minimal)
    assert "only the untouched base was scored" in text
    assert "## Cost\n\nnone" in text
    assert "## Notes\n\nNone." in text


def test_names_from_outside_stay_text(normal: Result) -> None:
    assert plain("a|b\n<script> `x` [y](z) *w* & #") == ("a\\|b &lt;script> \\`x\\` \\[y\\](z) \\*w\\* &amp; \\#")
    attack = "<script>|x"
    dumped = normal.model_dump_json().replace('"web"', f'"{attack}"')
    text = markdown(Result.model_validate_json(dumped))
    assert "| &lt;script>\\|x (old, proxy) |" in text


def test_a_fence_is_longer_than_any_in_its_text(normal: Result) -> None:
    text = markdown(normal.model_copy(update={"command": "echo ```` x"}))
    assert "`````\necho ```` x\n`````" in text
