"""Continuations by likelihood and by what is written, against naive loops; numbers taken out of answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import torch

from rewarm.suites.continuation import Continuation, last_number
from rewarm.suites.rows import BadRow
from rewarm.tokens.tokenizer import TextTokenizer


def naive(model: Any, tokenizer: TextTokenizer, context: str, ending: str) -> tuple[float, bool]:
    """log p(" ending" | context) and whether each token is the likeliest, in a pass of its own."""
    before = tokenizer.encode([context])[0][:-1].tolist()
    whole = tokenizer.encode([f"{context} {ending}"])[0][:-1].tolist()
    with torch.no_grad():
        logprobs_TV = model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
    places = range(len(before), len(whole))
    greedy = all(int(logprobs_TV[place - 1].argmax()) == whole[place] for place in places)
    return sum(float(logprobs_TV[place - 1, whole[place]]) for place in places), greedy


def test_exact_and_nats_are_those_of_a_naive_loop(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer, words: Any
) -> None:
    model = make_tiny("llama")
    texts = [words(seed, 6).split() for seed in range(12)]
    rows = [{"context": " ".join(text[:4]), "continuation": " ".join(text[4:])} for text in texts]
    # A row whose ending is what the model would write: the likeliest token that begins a word.
    for context in ("ba ke", "lo mi nu"):
        ids = tokenizer.encode([context])[0][:-1].tolist()
        with torch.no_grad():
            likeliest = model(input_ids=torch.tensor([ids])).logits[0, -1].argsort(descending=True).tolist()
        rows.append({"context": context, "continuation": tokenizer.decode([likeliest[0]]).strip() or "x"})
    found = answers_of({"type": "continuation", "path": write_rows(rows)})
    expected = [naive(model, tokenizer, row["context"], row["continuation"]) for row in rows]
    sizes = sum(len(f" {row['continuation']}".encode()) for row in rows)
    assert found.measures["exact"].values_N.tolist() == [float(greedy) for _, greedy in expected]
    assert found.measures["nats_per_byte"].value == pytest.approx(-sum(nats for nats, _ in expected) / sizes, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 + 4 = 7 eggs.", "7"),
        ("That is $1,200.50", "1200.5"),
        ("#### -12", "-12"),
        ("so 18.", "18"),
        ("18.0 dollars", "18"),
        ("nothing", None),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


def test_the_answer_is_taken_out_of_what_the_model_writes(
    write_rows: Any, answers_of: Any, make_tiny: Any, tokenizer: TextTokenizer
) -> None:
    """A head that knows the state at the end of the prompt, and answers it with a 7."""
    model, prompt = make_tiny("llama"), "ba ke lo"
    seven = int(tokenizer.encode(["7"])[0][len(tokenizer.prefix)])
    ids = torch.tensor([tokenizer.encode([prompt])[0][:-1].tolist()])
    with torch.no_grad():
        state_D = model.model(input_ids=ids).last_hidden_state[0, -1]
    model.lm_head.weight.data.zero_()
    model.lm_head.weight.data[seven] = state_D
    rows = [{"context": prompt, "answer": answer} for answer in ("it is 7", "8")]
    values = {"type": "continuation", "path": write_rows(rows), "extract": "number", "new_tokens": 1}
    found = answers_of(values, model)
    assert found.written == ("7", "7")
    assert found.measures["exact"].values_N.tolist() == [1, 0]
    assert found.measures["stop_rate"].value == 0
    # A stop text ends the answer before itself.
    stopped = answers_of(values | {"stop": ["7"]}, model)
    assert stopped.written == ("", "")
    assert (stopped.measures["exact"].value, stopped.measures["stop_rate"].value) == (0, 1)


def test_rows_without_an_answer_are_bad() -> None:
    with pytest.raises(BadRow, match="no number in the answer"):
        Continuation(path="x", extract="number").item({"context": "c", "answer": "none"})
    with pytest.raises(BadRow, match="no text in field 'continuation'"):
        Continuation(path="x").item({"context": "c"})
    item = Continuation(path="x", template="Q: {q}", answer="a").item({"q": 3, "a": "four"})
    assert item == ("Q: 3", "four")
