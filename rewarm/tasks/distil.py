"""Distillation from the model as it was before the task, on text of the earlier tasks: no old label is read.

Castellucci, Filice, Croce and Basili, ACL 2021: L = CE(new rows) + weight T^2 KL(teacher || student)(old text).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rewarm.quantities import PositiveCount
from rewarm.tasks import Arrived, Beginning
from rewarm.tasks.naive import Naive as _Naive

if TYPE_CHECKING:
    from rewarm.evaluation.learners import Learner
    from rewarm.evaluation.tuning import Term


class Distil(_Naive):
    """Learns new labels, and what the model before the task says of old text: CE + weight T^2 KL(teacher || student).

    `text: old` reads text of every earlier task, an equal number of rows of each in a step, `rows` in all (None: as
    many as a batch has of the new task, as published). `text: new` reads the new task's own (Learning without
    Forgetting, arXiv 1606.09282). `hard` learns the teacher's best label in place of its distribution. What the teacher
    says is asked once and kept on disk (`cache`), or asked at every step of a copy of the model. Of answers, the
    teacher first writes one to each prompt, and its 64 likeliest tokens count at each place, the others as one.
    `weight` is that of the text; that of the labels is 1.
    """

    paper: ClassVar[str] = "Castellucci et al., ACL 2021; temperature, weight and sizes are ours: its text was not had"
    about: ClassVar[str] = "taught by the model before the task, on unlabelled text of the earlier tasks"

    temperature: Annotated[float, Field(gt=0)] = 1.0
    weight: Annotated[float, Field(ge=0)] = 1.0
    text: Literal["old", "new"] = "old"
    hard: bool = False
    cache: bool = True
    rows_a_step: Annotated[PositiveCount | None, Field(alias="rows")] = None

    def term(self, learner: Learner, beginning: Beginning) -> Term | None:
        """The distance from the teacher on text; None for the first task, which has no teacher."""
        from rewarm.tasks.teaching import teacher_term

        if not beginning.earlier or self.weight == 0:
            return None
        return teacher_term(self, learner, beginning)

    def sources(self, beginning: Beginning) -> list[Arrived]:
        """The tasks whose text the teacher is asked about."""
        return list(beginning.earlier) if self.text == "old" else [beginning.task]
