"""Post-hoc merging of a run's models: each merge is scored as the run scored its own, and one is chosen."""

from __future__ import annotations

from rewarm import __version__
from rewarm.models.merging import Recipe
from rewarm.report import frontier, merge_page
from rewarm.report.frontier import Merge, MergePoint
from rewarm.river.directory import RunDirectory
from rewarm.river.legs import BASE
from rewarm.river.merge_order import SEED, MergeWork
from rewarm.river.merge_scores import Scorer
from rewarm.river.outcome import row
from rewarm.river.train import Hooks


def merge(work: MergeWork, hooks: Hooks | None = None) -> Merge:
    """Merges, scores, chooses; writes merge.json, merge.html and the chosen model's folder `model` into the output.

    Stopped when the hooks ask to stop; the same call goes on. StorageError when a write fails. UserError when a run's
    model is no longer what the run recorded.
    """
    with RunDirectory(work.output).locked():
        scorer = Scorer(work, hooks or Hooks())
        scorer.check_distinct()
        points = _soups(scorer) if work.order.method == "soup" else _sweep(scorer)
        points = frontier.marked(points)
        order = work.order
        choice, reason = frontier.choose(points, work.stage.name, order.prefer, order.max_forgetting)
        against = {}
        if choice.name != work.stage.name:
            against = row(choice.name, "stage", scorer.losses[choice.name], scorer.losses[work.stage.name]).cells
        found = Merge(
            rewarm=__version__,
            run=str(work.run.root),
            method=order.method,
            stage=work.stage.name,
            prefer=order.prefer,
            max_forgetting=order.max_forgetting,
            density=order.density if order.method in ("ties", "dare") else None,
            seed=SEED,
            parts={part.name: scorer.digest(part) for part in work.parts},
            revisions={part.name: part.revision for part in work.parts if part.revision is not None},
            columns=work.columns,
            points=points,
            choice=choice.name,
            reason=reason + frontier.noise(against),
            against_stage=against,
            barrier=frontier.barriers(points),
            model=str(scorer.save(choice)),
        )
        merge_page.write(found, work.output)
        return found


def _sweep(scorer: Scorer) -> list[MergePoint]:
    """The sweep by weight, then untouched models that are no end of it. An end that is one is scored as it is."""
    work, ends = scorer.work, scorer.work.ends()
    points = [scorer.untouched(part, ends.get(part.name)) for part in work.untouched()]
    points += [scorer.merged(f"weight {recipe.weight:g}", recipe, work.parts) for recipe in work.between()]
    return sorted(points, key=lambda point: (point.weight is None, point.weight))


def _soups(scorer: Scorer) -> list[MergePoint]:
    """The untouched models, the mean of all, and the greedy soup: from the best on, each is kept if the mean change
    over the watch corpora gets lower (Wortsman et al. 2022, recipe 1)."""
    parts, recipe = scorer.work.parts, Recipe("soup")
    points = {BASE: scorer.untouched(scorer.work.base)}
    own = {part.name: scorer.untouched(part) for part in parts}
    points |= own
    uniform = scorer.merged("uniform soup", recipe, parts)
    points[uniform.name] = uniform
    ordered = sorted(parts, key=lambda part: own[part.name].mean)
    kept, best = ordered[:1], own[ordered[0].name]
    for part in ordered[1:]:
        tried = [one for one in parts if one in (*kept, part)]  # in one order, so that one soup is one sum
        name = " + ".join(one.name for one in tried)
        found = uniform if len(tried) == len(parts) else scorer.merged(name, recipe, tried)
        points[found.name] = found
        if found.mean < best.mean:
            kept, best = tried, found
    return list(points.values())
