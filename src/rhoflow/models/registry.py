"""A registry of named entries: decorate a function, and listing, choosing and error messages work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rhoflow.config import Section, near
from rhoflow.errors import StudyError

Make = TypeVar("Make", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[Make]):
    """A registered model.

    Attributes
    ----------
    name : str
        As in the config and in the run's path.
    make : callable
        What was decorated.
    options : type
        Section with the parts of the study that the model depends on; nothing else may change its result.
    parents : callable
        From the options to the models whose run of the same target, fold and seed it is built on.
    """

    name: str
    make: Make
    options: type[Section]
    parents: Callable[[Any], tuple[str, ...]]

    def take_options(self, study: Any) -> Section:
        """Options of this model, its fields taken from the study's sections of the same name."""
        return self.options.model_validate({name: getattr(study, name) for name in self.options.model_fields})


class Registry(Generic[Make]):
    """Entries by name.

    Parameters
    ----------
    kind : str
        What an entry is, for messages, e.g. ``"network"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[Make]] = {}

    def register(
        self,
        name: str,
        *,
        options: type[Section],
        parents: Callable[[Any], tuple[str, ...]] = lambda options: (),
    ) -> Callable[[Make], Make]:
        """Register the decorated function under `name` (arguments: `Entry`).

        Raises
        ------
        ValueError
            If the name is taken.
        """

        def decorate(make: Make) -> Make:
            if name in self._entries:
                taken = self._entries[name].make.__module__
                raise ValueError(f"{self.kind} {name!r} is already registered by {taken}; choose another name")
            self._entries[name] = Entry(name, make, options, parents)
            return make

        return decorate

    def __getitem__(self, name: str) -> Entry[Make]:
        if name not in self._entries:
            raise StudyError(f"unknown {self.kind} {name!r}{near(name, self._entries)}; known: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
