"""What must stand in no setting, hence in no artefact: keys and passwords, known by the environment or their form."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rhoflow.errors import StudyError

SHORTEST = 8  # a shorter value stands in any file by chance
# Names of variables that hold secrets; AUTHOR and XAUTHORITY are none.
_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|JWT|COOKIE|AUTH(?!OR)|(?:^|_)(?:PAT|PSK|PWD?)$", re.IGNORECASE)
_FOLDERS = frozenset({"PWD", "OLDPWD"})
_ADDRESS_PASSWORD = re.compile(r"://[^/?#@\s:]*:([^/?#@\s]+)@")
# Forms of keys that cannot be taken for anything else: OpenAI and others, Hugging Face, AWS, GitHub, JSON web tokens.
_FORMS = re.compile(
    r"(?<![\w-])(?:sk-[\w-]{16,}|hf_[A-Za-z0-9]{20,}|AKIA[A-Z0-9]{16}|gh[oprsu]_\w{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.)"
)
_IN_ADDRESS = {
    "an address with a name or password before its host": re.compile(r"[A-Za-z][\w+.-]*://[^/?#\s]*@"),
    "an address with a key in its query": re.compile(
        r"[?&;][\w.-]*(?:key|token|secret|pass|credential|jwt|auth|sig)[\w.-]*=", re.IGNORECASE
    ),
}


def secret_values(environment: Mapping[str, str] = os.environ, *, also: Collection[str] = ()) -> dict[str, str]:
    """Return what the environment keeps secret, by variable: values of names such as KEY, passwords in addresses.

    Parameters
    ----------
    also : collection of str
        Further variables that hold secrets, whatever their names.
    """
    found = {}
    for name, value in environment.items():
        password = _ADDRESS_PASSWORD.search(value)
        if name in also or (_NAME.search(name) and name not in _FOLDERS):
            found[name] = value
        elif password:
            found[name] = password[1]
    return {name: value for name, value in found.items() if len(value) >= SHORTEST}


def refuse_secrets(config: Any, environment: Mapping[str, str] = os.environ) -> None:
    """Stop where a configuration holds a secret: settings are published with the results.

    Raises
    ------
    StudyError
        Naming the key and the variable or the form, never the value.
    """
    llm = config.get("llm") if isinstance(config, Mapping) else None
    named = llm.get("api_key_variable") if isinstance(llm, Mapping) else None
    secrets = secret_values(environment, also=[str(named)])
    for path, text in _texts(config):
        if why := _why(text, secrets):
            key = ".".join("(not shown)" if _why(part, secrets) else part for part in path)
            raise StudyError(
                f"config: {key} = (not shown): holds {why}; settings are published with the results: a key belongs in"
                " an environment variable, and stands nowhere else; one that stood in a file is better changed"
            )


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a message with each secret replaced."""
    for value in sorted(secret_values(environment).values(), key=len, reverse=True):
        text = text.replace(value, "(not shown)")
    return _FORMS.sub("(not shown)", text)


def _why(text: str, secrets: Mapping[str, str]) -> str | None:
    """Say what is secret in a text; None where nothing is."""
    for name, value in secrets.items():
        if value in text:
            return f"the value of the environment variable {name}"
    if _FORMS.search(text):
        return "what has the form of a key"
    return next((told for told, form in _IN_ADDRESS.items() if form.search(text)), None)


def _texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every key and every value of a configuration as text, with its key path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            here = (*path, str(key))
            yield here, str(key)
            yield from _texts(inner, here)
    elif isinstance(value, list | tuple | set):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*path, str(number)))
    else:
        yield path, str(value)
