"""A program is validated as a whole before it is applied: every error at once, each with its path."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec
import re2
from jsonschema import Draft202012Validator, ValidationError

from questline.engine.conditions import operator_of
from questline.engine.fields import EVENT_FIELDS, STATE_ROOTS, split_field
from questline.engine.schema import PROGRAM_SCHEMA
from questline.model import calendar
from questline.model.limits import CONDITION_DEPTH_MAX, CONDITION_LEAVES_MAX, PATTERN_CHARS_MAX, PROGRAM_ERRORS_MAX
from questline.model.program import ProgramDocument, Requirement, parse, string_keys

_VALIDATOR = Draft202012Validator(PROGRAM_SCHEMA)
_DOCUMENT_DEPTH_MAX = 64


class ProgramError(msgspec.Struct, frozen=True):
    """One thing wrong: `path` such as rules.hard-task.when.all[0].op, and a message that says how to mend it."""

    path: str
    message: str


class ProgramInvalid(ValueError):
    """The document has errors; `errors` are all of them."""

    def __init__(self, errors: list[ProgramError]) -> None:
        super().__init__("; ".join(f"{e.path}: {e.message}" for e in errors[:10]))
        self.errors = errors


def validate(document: Any) -> list[ProgramError]:
    """Return every error of a document, at most PROGRAM_ERRORS_MAX; never raises, whatever the document holds."""
    if _depth(document) > _DOCUMENT_DEPTH_MAX:
        return [ProgramError("", f"the document is nested deeper than {_DOCUMENT_DEPTH_MAX} levels")]
    document = string_keys(document)
    errors = [_structural(error) for error in _VALIDATOR.iter_errors(document)]
    errors.extend(_conditions(document))
    if not errors:
        try:
            program = parse(document)
        except msgspec.ValidationError as error:
            return [ProgramError("", str(error))]
        errors.extend(_references(program))
    unique = {(error.path, error.message): error for error in errors}
    return sorted(unique.values(), key=lambda error: error.path)[:PROGRAM_ERRORS_MAX]


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= _DOCUMENT_DEPTH_MAX:
        depth += 1
        level = [
            child
            for item in level
            for child in (
                item.values() if isinstance(item, Mapping) else item if isinstance(item, list | tuple) else ()
            )
        ]
    return depth


def path_text(path: Iterable[str | int]) -> str:
    """Return a path as people write it: rules.hard-task.when.all[0].op."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _structural(error: ValidationError) -> ProgramError:
    while error.validator in ("anyOf", "oneOf") and error.context:
        wanted = _branch(error)
        if wanted is None:
            return ProgramError(path_text(error.absolute_path), "must be a whole number above 0, or {field, times, round}"
                                if "award" in error.absolute_path else "must be one event type or a list of them")  # fmt: skip
        error = wanted
    path = path_text(error.absolute_path)
    found: Any = error.instance
    schema: Any = error.schema
    limit: Any = error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(schema.get("properties", {}))
            extra = [key for key in found if key not in known]
            hints = [f"{key!r}{_hint(key, known)}" for key in extra]
            return ProgramError(path, f"unknown {'key' if len(extra) == 1 else 'keys'} {', '.join(hints)}")
        case "required":
            missing = [key for key in limit if key not in found]
            return ProgramError(path, f"lacks {', '.join(map(repr, missing))}")
        case "enum":
            options = [str(option) for option in limit]
            return ProgramError(
                path, f"{_short(found)} is not one of {', '.join(options[:14])}{_hint(str(found), options)}"
            )
        case "type":
            return ProgramError(path, f"{_short(found)} must be of type {limit}")
        case "minimum" | "exclusiveMinimum":
            return ProgramError(path, f"{_short(found)} is below {limit}")
        case "maximum" | "maxItems" | "maxLength" | "maxProperties":
            return ProgramError(path, f"{_short(found)} is above the limit of {limit}")
        case "minItems" | "minLength" | "minProperties":
            return ProgramError(path, "must not be empty")
        case "const":
            return ProgramError(path, f"must be {limit!r}; leave it out otherwise")
        case "uniqueItems":
            return ProgramError(path, "names something twice")
        case "pattern":
            return ProgramError(path, f"{_short(found)} has a wrong form")
        case _:
            return ProgramError(path, error.message[:300])


def _branch(error: ValidationError) -> ValidationError | None:
    """The error of the one branch whose type fits, for `anyOf`; None where no branch has the right type."""
    fitting = [e for e in error.context or () if not (e.validator == "type" and len(e.relative_path) == 0)]
    return fitting[0] if fitting else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _conditions(document: Any) -> Iterator[ProgramError]:
    for kind in ("metrics", "rules", "streaks"):
        definitions = document.get(kind) if isinstance(document, dict) else None
        for name, definition in definitions.items() if isinstance(definitions, dict) else ():
            if isinstance(definition, dict) and "when" in definition:
                path = (kind, name, "when")
                leaves = [0]
                yield from _condition(definition["when"], path, 1, leaves)
                if leaves[0] > CONDITION_LEAVES_MAX:
                    yield ProgramError(path_text(path), f"has more than {CONDITION_LEAVES_MAX} leaves")


def _condition(raw: Any, path: tuple[str | int, ...], depth: int, leaves: list[int]) -> Iterator[ProgramError]:
    if not isinstance(raw, dict):
        return  # the schema has said so
    if depth > CONDITION_DEPTH_MAX:
        yield ProgramError(path_text(path), f"is nested deeper than {CONDITION_DEPTH_MAX} levels")
        return
    forms = [key for key in ("all", "any", "not", "field") if key in raw]
    if len(forms) != 1:
        yield ProgramError(path_text(path), "must be exactly one of all, any, not, or a leaf {field, op, value}")
        return
    form = forms[0]
    if form == "field":
        leaves[0] += 1
        yield from _leaf(raw, path)
    elif form == "not":
        yield from _condition(raw["not"], (*path, "not"), depth + 1, leaves)
    elif isinstance(raw[form], list):
        for index, part in enumerate(raw[form]):
            yield from _condition(part, (*path, form, index), depth + 1, leaves)


def _leaf(raw: dict[str, Any], path: tuple[str | int, ...]) -> Iterator[ProgramError]:
    if "op" not in raw:
        yield ProgramError(path_text(path), "lacks 'op'")
        return
    op, value, at = operator_of(raw["op"]), raw.get("value"), path_text((*path, "value"))
    if op is None:
        return
    if "value" not in raw and op != "exists":
        yield ProgramError(path_text(path), f"lacks 'value', which {op} compares with")
    elif op in ("gt", "gte", "lt", "lte") and (isinstance(value, bool) or not isinstance(value, int | float | str)):
        yield ProgramError(at, f"{_short(value)} must be a number or a text for {op}")
    elif op in ("in", "nin") and not isinstance(value, list):
        yield ProgramError(at, f"{_short(value)} must be a list for {op}")
    elif op in ("startsWith", "endsWith", "matches") and not isinstance(value, str):
        yield ProgramError(at, f"{_short(value)} must be a text for {op}")
    elif op == "exists" and not isinstance(value, bool) and value is not None:
        yield ProgramError(at, "must be true or false for exists")
    elif op == "between" and not _is_range(value):
        yield ProgramError(at, f"{_short(value)} must be [low, high], two numbers or two texts, for between")
    elif op == "matches":
        yield from _pattern(value, at)


def _is_range(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2 or any(isinstance(v, bool) for v in value):
        return False
    return all(isinstance(v, str) for v in value) or all(isinstance(v, int | float) for v in value)


def _pattern(value: Any, path: str) -> Iterator[ProgramError]:
    if len(value) > PATTERN_CHARS_MAX:
        yield ProgramError(path, f"is longer than {PATTERN_CHARS_MAX} characters")
        return
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        yield ProgramError(path, f"is no pattern of the linear-time kind (RE2 syntax): {reason}")


def _references(program: ProgramDocument) -> Iterator[ProgramError]:
    yield from _zone(program)
    names = Names(program)
    for name, currency in program.currencies.items():
        yield from _levels(names, name, currency)
    for name, metric in program.metrics.items():
        path = f"metrics.{name}"
        kinds = [k for k in ("count", "sum", "min", "max", "last", "distinct") if getattr(metric, k)]
        if len(kinds) != 1:
            yield ProgramError(path, "must have exactly one of count, sum, min, max, last, distinct")
        if metric.field and split_field(metric.field)[0]:
            yield ProgramError(f"{path}.{metric.kind}", "metrics aggregate fields of the payload only")
        yield from names.condition(metric.when, f"{path}.when")
    for name, rule in program.rules.items():
        yield from _rule(names, f"rules.{name}", rule)
    for name, streak in program.streaks.items():
        path = f"streaks.{name}"
        yield from names.condition(streak.when, f"{path}.when")
        for length, milestone in streak.milestones.items():
            yield from names.award(milestone.award, f"{path}.milestones.{length}.award")
    for name, achievement in program.achievements.items():
        yield from _achievement(names, name, achievement)
    for name, board in program.boards.items():
        yield from _board(names, program, name, board)


def _zone(program: ProgramDocument) -> Iterator[ProgramError]:
    if program.timezone is not None:
        try:
            calendar.zone(program.timezone)
        except calendar.UnknownZone as error:
            yield ProgramError("timezone", str(error))


class Names:
    """What the program defines, to check references against."""

    def __init__(self, program: ProgramDocument) -> None:
        self.known: dict[str, Mapping[str, Any]] = {
            "currency": program.currencies,
            "metric": program.metrics,
            "streak": program.streaks,
            "achievement": program.achievements,
            "level": {n: c for n, c in program.currencies.items() if c.levels},
        }

    def check(self, kind: str, name: str, path: str) -> Iterator[ProgramError]:
        """Yield an error when the program has no such thing."""
        known = self.known[kind]
        if name not in known:
            what = "currency with levels" if kind == "level" else kind
            yield ProgramError(path, f"there is no {what} {name!r}{_hint(name, known)}")

    def award(self, award: Mapping[str, Any], path: str) -> Iterator[ProgramError]:
        """Yield errors of an award's currencies and fields."""
        for currency, amount in award.items():
            yield from self.check("currency", currency, f"{path}.{currency}")
            if isinstance(amount, dict):
                yield from self.field(amount["field"], f"{path}.{currency}.field")

    def condition(self, raw: Mapping[str, Any] | None, path: str) -> Iterator[ProgramError]:
        """Yield errors of the fields a condition reads."""
        if raw is None:
            return
        for form in ("all", "any"):
            for index, part in enumerate(raw.get(form, ())):
                yield from self.condition(part, f"{path}.{form}[{index}]")
        if "not" in raw:
            yield from self.condition(raw["not"], f"{path}.not")
        if "field" in raw:
            yield from self.field(raw["field"], f"{path}.field")

    def field(self, field: str, path: str) -> Iterator[ProgramError]:
        """Yield an error when a field reaches for something that is not there."""
        root, name = split_field(field)
        if root in STATE_ROOTS:
            yield from self.check("currency" if root == "balance" else root, name, path)
        elif root == "event" and name not in EVENT_FIELDS:
            yield ProgramError(path, f"there is no event.{name}{_hint(name, EVENT_FIELDS)}")


def _levels(names: Names, name: str, currency: Any) -> Iterator[ProgramError]:
    path, levels = f"currencies.{name}.levels", currency.levels
    if levels is None:
        return
    if currency.kind != "xp":
        yield ProgramError(path, "only a currency of kind xp has levels")
    if (levels.curve == "table") != bool(levels.table):
        yield ProgramError(path, "a table belongs to the curve 'table', and only to it")
    if levels.table and (
        levels.table[0] != 0 or any(a >= b for a, b in zip(levels.table, levels.table[1:], strict=False))
    ):
        yield ProgramError(f"{path}.table", "must begin with 0 and rise from each level to the next")
    for level, reward in levels.rewards.items():
        if int(level) < 2:
            yield ProgramError(f"{path}.rewards.{level}", "level 1 is where users begin; rewards start at level 2")
        yield from names.award(reward.award, f"{path}.rewards.{level}.award")


def _rule(names: Names, path: str, rule: Any) -> Iterator[ProgramError]:
    yield from names.condition(rule.when, f"{path}.when")
    yield from names.award(rule.award, f"{path}.award")
    for index, multiplier in enumerate(rule.multiply):
        at = f"{path}.multiply[{index}]"
        forms = [k for k in ("field", "streak", "hours") if getattr(multiplier, k) is not None]
        if len(forms) != 1:
            yield ProgramError(at, "must have exactly one of field (with map), streak (with every or from), hours")
            continue
        if multiplier.field is not None:
            if multiplier.map is None:
                yield ProgramError(at, "lacks 'map': which values of the field give which factor")
            yield from names.field(multiplier.field, f"{at}.field")
        if multiplier.streak is not None:
            if (multiplier.every is None) == (multiplier.from_ is None):
                yield ProgramError(at, "must have exactly one of every and from")
            yield from names.check("streak", multiplier.streak, f"{at}.streak")


def _achievement(names: Names, name: str, achievement: Any) -> Iterator[ProgramError]:
    path = f"achievements.{name}"
    for index, requirement in enumerate(achievement.requirements):
        yield from _requirement(names, f"{path}.requirements[{index}]", name, requirement)
    first = achievement.requirements[0]
    if achievement.tiers:
        thresholds = [tier.threshold for tier in achievement.tiers]
        if len(achievement.requirements) != 1 or first.operator not in ("gte", "gt"):
            yield ProgramError(f"{path}.tiers", "tiers climb on exactly one requirement with gte or gt")
        if thresholds != sorted(set(thresholds)):
            yield ProgramError(f"{path}.tiers", "thresholds must rise from tier to tier")
        if achievement.repeatable or achievement.rewards:
            yield ProgramError(path, "with tiers, rewards belong to the tiers, and repeatable has no meaning")
    if achievement.repeatable and (
        len(achievement.requirements) != 1 or first.operator != "gte" or first.threshold <= 0 or not first.metric
    ):
        yield ProgramError(f"{path}.repeatable", "repeats on exactly one metric, with gte and a threshold above 0")
    for index, reward in enumerate(achievement.rewards):
        yield from names.check("currency", reward.currency, f"{path}.rewards[{index}].currency")
    for number, tier in enumerate(achievement.tiers):
        for index, reward in enumerate(tier.rewards):
            yield from names.check("currency", reward.currency, f"{path}.tiers[{number}].rewards[{index}].currency")


def _requirement(names: Names, path: str, owner: str, requirement: Requirement) -> Iterator[ProgramError]:
    kinds = [k for k in ("metric", "level", "streak", "achievement", "currency") if getattr(requirement, k) is not None]
    if len(kinds) != 1:
        yield ProgramError(path, "must have exactly one of metric, level, streak, achievement, currency")
        return
    kind, name = requirement.source
    yield from names.check(kind, name, f"{path}.{kind}")
    if kind == "achievement" and name == owner:
        yield ProgramError(f"{path}.achievement", "an achievement cannot require itself")


def _board(names: Names, program: ProgramDocument, name: str, board: Any) -> Iterator[ProgramError]:
    path = f"boards.{name}"
    if (board.currency is None) == (board.metric is None):
        yield ProgramError(path, "must rank exactly one currency or metric")
        return
    if board.currency is not None:
        yield from names.check("currency", board.currency, f"{path}.currency")
        if board.decimals:
            yield ProgramError(f"{path}.decimals", "a currency is ranked in its smallest units")
        return
    yield from names.check("metric", board.metric, f"{path}.metric")
    metric = program.metrics.get(board.metric)
    if metric is not None and metric.kind in ("min", "last", "distinct") and board.periods != ("all-time",):
        yield ProgramError(f"{path}.periods", f"a metric of kind {metric.kind} has one period only: [all-time]")
