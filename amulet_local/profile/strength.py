"""A strength that is a factor of another one. Knows nothing about where the factor comes from."""

from __future__ import annotations

from amulet_local.params.amulet import HYPER_PARAMETERS, AmuletParams


def scaled(amulet: AmuletParams, factor: float) -> AmuletParams:
    """The scale, and where there are any the target and the budget, times a factor."""
    fields = amulet.model_dump(exclude=set(HYPER_PARAMETERS), exclude_unset=True, by_alias=True)
    fields["guidance_scale"] = amulet.guidance_scale * factor
    for name in ("kl_target", "kl_budget"):
        if fields.get(name) is not None:
            fields[name] *= factor
    return AmuletParams(**fields)
