"""What is wrong with a value, in sentences that say what to do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any, cast

from jsonschema import Draft4Validator, ValidationError
from jsonschema.validators import extend

from zun_coe.errors import FieldProblem
from zun_coe.model.evidence import quoted

MOST = 50
"""The most problems that are told of one value."""
MOST_ENTRIES = 1000
"""The most entries of one list or object that are looked at: what has more is too large by its schema."""
MOST_SUGGESTIONS = 10
"""The most problems of one object that come with a suggestion: each name is compared with all that there are."""
MOST_POINTER = 300
"""The most characters of a pointer that are shown."""
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
# Of clusters and of secrets: fields whose content is never repeated.
_CONFIDENTIAL = frozenset({"credentials", "data"})
_BOUNDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "minLength": "must have at least {} character{}",
    "maxLength": "must have at most {} character{}",
    "minItems": "must have at least {} entr{}",
    "maxItems": "must have at most {} entr{}",
    "minProperties": "must have at least {} entr{}",
    "maxProperties": "must have at most {} entr{}",
}


Keyword = Callable[[Any, Any, Any, Mapping[str, Any]], Iterable[ValidationError] | None]


def _bounded(keyword: str) -> Keyword:
    """A keyword that looks at no more entries of a value than there may be: the rest is explained by that."""
    original: Keyword = Draft4Validator.VALIDATORS[keyword]

    def check(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        return iter(original(validator, wanted, _first(value, schema), schema) or ())

    return check


def _first(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        most = min(schema.get("maxItems", MOST_ENTRIES), MOST_ENTRIES)
        return value[:most] if len(value) > most else value
    if isinstance(value, dict):
        most = min(schema.get("maxProperties", MOST_ENTRIES), MOST_ENTRIES)
        return dict(islice(value.items(), most)) if len(value) > most else value
    return value


def _pattern(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """A text that is too long is not searched: that takes longest where nothing fits."""
    too_long = isinstance(value, str) and len(value) > schema.get("maxLength", len(value))
    return iter(() if too_long else Draft4Validator.VALIDATORS["pattern"](validator, wanted, value, schema) or ())


# They stand for the contract's own checks, which say only that something is wrong.
_Bounded = extend(  # type: ignore[no-untyped-call]  # it has no types
    Draft4Validator,
    {name: _bounded(name) for name in ("items", "uniqueItems", "patternProperties", "additionalProperties")}
    | {"pattern": _pattern},
)


def explainer(schema: Mapping[str, Any]) -> Draft4Validator:
    """What tells all that is wrong with a value by a schema, at a cost that is bounded by the schema."""
    validator: Draft4Validator = _Bounded(schema)
    return validator


def explain(validator: Draft4Validator, value: Any) -> list[FieldProblem]:
    """Everything that is wrong with a value, in the order of the document, each pointer once."""
    found: dict[str, FieldProblem] = {}
    for error in validator.iter_errors(value):
        for problem in _problems(error):
            found.setdefault(problem.pointer, problem)
            if len(found) == MOST:
                return list(found.values())
    return list(found.values())


def pointer(path: Iterable[Any]) -> str:
    """A JSON pointer (RFC 6901), cut where it is very long."""
    told = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return told if len(told) <= MOST_POINTER else told[: MOST_POINTER - 1] + "…"


def suggestion(name: str, known: Iterable[str]) -> str:
    """` did you mean "replicas"?`, or what there is, or nothing where there is nothing."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f'; did you mean "{close[0]}"?'
    if len(names) == 1:
        return f"; there is only {names[0]}"
    return f"; there are {', '.join(names)}" if names else ""


def summary(problems: Sequence[FieldProblem], what: str = "The body") -> str:
    """One sentence for all of the problems."""
    first = problems[0]
    told = f"{first.pointer or what}: {first.detail}" + ("" if first.detail.endswith("?") else ".")
    more = len(problems) - 1
    return told + (f" And {more} more." if more else "")


def kind_of(value: Any) -> str:
    """What a JSON value is, in a word or two."""
    for kind, word in ((bool, "true or false"), (str, "text"), ((int, float), "a number"), (dict, "an object")):
        if isinstance(value, kind):
            return word
    return "null" if value is None else "a list"


def _problems(error: ValidationError) -> Iterable[FieldProblem]:
    path, schema = list(error.absolute_path), cast("dict[str, Any]", error.schema)
    value, wanted = cast(Any, error.instance), cast(Any, error.validator_value)
    if error.validator == "required":
        missing = [name for name in wanted if name not in value]
        return [FieldProblem(pointer([*path, name]), "is required") for name in missing]
    if error.validator == "additionalProperties":
        extra = islice(_extra(value, schema), MOST)
        return [_unknown(path, name, schema, suggest=n < MOST_SUGGESTIONS) for n, name in enumerate(extra)]
    sentence = _sentence(str(error.validator), wanted, value, schema)
    if path[:1] and path[0] in _CONFIDENTIAL:
        # What stands in the wrong place there is a secret all the same.
        return [FieldProblem(pointer(path), (sentence or "is wrong").replace(_shown(value), kind_of(value)))]
    return [FieldProblem(pointer(path), sentence or error.message)]


def _extra(value: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if "x-key-pattern" in schema:
        fitting = Draft4Validator({"pattern": schema["x-key-pattern"]})
        return (name for name in value if not fitting.is_valid(name))
    return (name for name in value if name not in schema.get("properties", ()))


def _unknown(path: Sequence[Any], name: str, schema: Mapping[str, Any], *, suggest: bool) -> FieldProblem:
    where = pointer([*path, name])
    if "x-key-pattern" in schema:
        return FieldProblem(where, f"{quoted(name)} is no name that can be used here: {schema['x-key-means']}")
    settable = [field for field, inside in schema.get("properties", {}).items() if inside]  # the server sets the others
    known = suggestion(name, settable) if suggest and len(name) < MOST_POINTER else ""
    return FieldProblem(where, f"unknown field {quoted(name)}{known}")


def _sentence(keyword: str, wanted: Any, value: Any, schema: Mapping[str, Any]) -> str | None:
    if keyword == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        inside = f" with {' and '.join(schema['required'])}" if "object" in types and schema.get("required") else ""
        return f"must be {' or '.join(_TYPES[t] for t in types)}{inside}, not {_shown(value)}"
    if keyword == "enum":
        told = ", ".join(str(v) for v in wanted if v is not None)
        return f"must be one of {told}, not {_shown(value)}"
    if keyword in _BOUNDS:
        return _bound(keyword, wanted, value)
    if keyword == "uniqueItems":
        return "must not have the same entry twice"
    if keyword == "oneOf":
        return _choice(value, schema)
    return f"must be {schema['x-means']}, not {_shown(value)}" if "x-means" in schema else None


def _bound(keyword: str, wanted: Any, value: Any) -> str:
    endings = ("", "s") if isinstance(value, str) else ("y", "ies")
    told = _BOUNDS[keyword].format(wanted, endings[wanted != 1])
    return told if isinstance(value, str | list | dict) else f"{told}, not {value}"


def _choice(value: Any, schema: Mapping[str, Any]) -> str:
    """Of alternatives that are fields of one object: which are there. Of others: what they mean."""
    names = [each["required"][0] for each in schema["oneOf"] if "required" in each]
    if not names:
        return f"must be {schema['x-means']}, not {_shown(value)}"
    if not isinstance(value, Mapping):
        return f"must be an object, not {_shown(value)}"
    told = " and ".join(n for n in names if n in value) or "none of them"
    return f"must have exactly one of {', '.join(names[:-1])} and {names[-1]}; it has {told}"


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return str(value) if len(str(value)) < 40 else "such a number"
    return quoted(value) if isinstance(value, str) else kind_of(value)
