"""How learning rate and distillation weight run over the training."""

from xdistill.train.objective.objective import Reduction
from xdistill.train.recipe.recipe import Recipe


def schedule_length(recipe: Recipe, *, steps_per_epoch: int) -> int:
    """Optimiser steps over which the schedules run: schedule_steps where set, else the epochs."""
    return recipe.schedule_steps or recipe.epochs * steps_per_epoch


def learning_rate(recipe: Recipe, step: int, *, length: int) -> float:
    """Adam's rate of one optimiser step.

    Args:
        recipe: lr, and when and by what it drops.
        step: Optimiser step, from 1.
        length: Optimiser steps of the whole schedule.

    Source: section 4, Godard et al., ICCV 2019: 1e-4, a tenth of it for the last 5 of 20 epochs.
    """
    if recipe.lr_drop_epoch is None:
        return recipe.lr
    # In whole numbers, so that the drop falls exactly on the epoch's first step.
    dropped = (step - 1) * recipe.epochs >= recipe.lr_drop_epoch * length
    return recipe.lr * recipe.lr_drop_factor if dropped else recipe.lr


def d2s_weight(recipe: Recipe, step: int, *, length: int) -> float:
    """lambda_D2S of one optimiser step: constant, or 0 at the first and full at the last step.

    Args:
        recipe: Distillation, its weight and its schedule.
        step: Optimiser step, from 1; beyond the schedule the weight stays full.
        length: Optimiser steps of the whole schedule.

    Source: section 4.1 and Table 7, Cai et al. 2021.
    """
    if recipe.distillation == "none":
        return 0.0
    if recipe.d2s_schedule == "constant":
        return recipe.d2s_weight
    return recipe.d2s_weight * min(1.0, (step - 1) / max(1, length - 1))


def reduction(recipe: Recipe, step: int, *, length: int) -> Reduction:
    """What is taken over the sources in one optimiser step.

    Args:
        recipe: The share of the schedule at which the auto-mask starts.
        step: Optimiser step, from 1.
        length: Optimiser steps of the whole schedule.
    """
    return "automask" if step - 1 >= recipe.automask_start * length else "mean"
