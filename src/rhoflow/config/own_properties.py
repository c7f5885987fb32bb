"""Properties of a study's own, beside those that rhoflow knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field

from rhoflow.config.section import Section
from rhoflow.properties import BUILT_IN, Property, add_property

_KEY = re.compile(r"[a-z][a-z0-9_]*")


class OwnProperty(Section):
    """A property of the study's own: a column ``<key>_<unit>`` of its table (mJ/m^2: ``mJ_m2``)."""

    label: str = Field(min_length=1, description="name in tables and figures")
    unit: str = Field(
        "", pattern=r"^[A-Za-z0-9/^_%]*$", description="unit of the values, e.g. mJ/m^2; empty: dimensionless"
    )
    zero_up_to: float | None = Field(
        None, ge=0, description="if it is zero for many crystals: the largest magnitude that counts as zero"
    )


def add_own(properties: Mapping[str, OwnProperty]) -> None:
    """Make a study's own properties known to this process, in place of others of the same name.

    Raises
    ------
    ValueError
        If a name is no word, or one of rhoflow's.
    """
    for key, own in properties.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no name: lower-case letters, digits and _, a letter first")
        if key in BUILT_IN:
            raise ValueError(f"{key!r} is known already ({BUILT_IN[key].unit or 'dimensionless'}); take it out")
        spelled = own.unit.replace("/", "_").replace("^", "")
        add_property(Property(key, own.label, own.unit, {spelled: 1.0}), own.zero_up_to)
