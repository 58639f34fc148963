"""Which mechanics depend, by nature, on the order in which events arrive: those that read what events change."""

from collections.abc import Iterator, Mapping
from typing import Any

from questline.engine.conditions import operator_of
from questline.engine.fields import STATE_ROOTS, split_field
from questline.engine.quest_steps import counts_since_start
from questline.model.program import Metric, ProgramDocument
from questline.model.quests import Quest
from questline.model.requirements import Requirement


def order_dependent(program: ProgramDocument) -> dict[str, str]:
    """Return path → reason for each definition whose effect depends on the order of arrival."""
    found: dict[str, str] = {}
    for kind in ("metrics", "streaks", "rules"):
        for name, definition in getattr(program, kind).items():
            fields = _state_fields(definition.when)
            if fields:
                found[f"{kind}.{name}"] = f"its condition reads {', '.join(fields)}"
    for name, rule in program.rules.items():
        reasons = [found[f"rules.{name}"]] if f"rules.{name}" in found else []
        reasons += [f"a multiplier reads the streak {m.streak}" for m in rule.multiply if m.streak is not None]
        reasons += [f"the gains of {name} grow with a level" for name in rule.award if program.currencies[name].gains]
        if any(reward.vital is not None or reward.item is not None for reward in rule.rewards):
            reasons.append("vitals and inventories stop at their bounds")
        if rule.limit is not None:
            reasons.append("its limit pays the events that come first")
        if reasons:
            found[f"rules.{name}"] = "; ".join(reasons)
    for name, guard in program.guards.items():
        reasons = [f"its condition reads {', '.join(fields)}"] if (fields := _state_fields(guard.when)) else []
        if guard.kind != "bounds":
            reasons.append("it compares an event with those that were applied before it")
        if program.suspicion is not None and program.suspicion.actions:
            reasons.append("the suspicion that gathered before may act as well")
        if reasons:
            found[f"guards.{name}"] = "; ".join(reasons)
    for name, reward in program.rewards.items():
        if reward.stock is not None or reward.limit is not None or reward.type == "coupon":
            found[f"rewards.{name}"] = "its stock, codes and limit go to the events that come first"
    for name, quest in program.quests.items():
        reasons = list(_of_quest(program, quest))
        if reasons:
            found[f"quests.{name}"] = "; ".join(reasons)
    for name, achievement in program.achievements.items():
        together = achievement.match == "all" and len(achievement.requirements) > 1
        if any(_passing(program, r) or (together and r.timeframe) for r in achievement.requirements):
            found[f"achievements.{name}"] = "a requirement may hold for a while only"
    if program.referrals is not None:
        qualifies = "; what qualifies counts only after it" if program.referrals.qualify is not None else ""
        found["referrals"] = f"the first code that comes stays{qualifies}"
    for name, commission in program.commissions.items():
        reasons = ["a sale that comes before its buyer's referral pays nobody"] if commission.to is None else []
        reasons += [f"its condition reads {', '.join(fields)}"] if (fields := _state_fields(commission.when)) else []
        read = [field for plan in commission.plans for field in _state_fields(plan.when)]
        reasons += [f"a plan reads {', '.join(dict.fromkeys(read))}"] if read else []
        if reasons:
            found[f"commissions.{name}"] = "; ".join(reasons)
    for name in program.leagues:
        found[f"leagues.{name}"] = "who scores first in a week is seated first"
    return found


def _of_quest(program: ProgramDocument, quest: Quest) -> Iterator[str]:
    """Yield why a quest depends on order: all but one that starts by itself, and whose steps only ever come nearer."""
    requirements = [requirement for step in quest.steps for requirement in step.requirements]
    listening = [*quest.steps, *([quest.fails] if quest.fails is not None else ())]
    fields = [field for one in listening for field in _state_fields(one.when)]
    if fields:
        yield f"it listens to events by a condition on {', '.join(fields)}"
    if not quest.auto_start:
        yield "events count from when it is started"
    if quest.ordered and len(quest.steps) > 1:
        yield "its steps are ordered"
    if quest.time_limit is not None:
        yield "its time limit runs from the event that starts it"
    if quest.every is not None:
        yield "a late event does not reopen a period that is over"
    if quest.ends_at is not None:
        yield "a late event does not reopen it after its end"
    if quest.starts_at is not None and requirements:
        yield "what it requires also counts before it begins"
    if quest.fails is not None:
        yield "what fails it ends it"
    if quest.prerequisites and any(step.on is not None for step in quest.steps):
        yield "events count once its prerequisites are met"
    if any(step.optional for step in quest.steps):
        yield "optional steps are open until it is complete"
    if any(counts_since_start(quest, requirement) for requirement in requirements):
        yield "a requirement counts since its start"
    if any(_passing(program, r) or r.timeframe for r in quest.all_requirements):
        yield "a requirement may hold for a while only"


def _passing(program: ProgramDocument, requirement: Requirement) -> bool:
    """Tell whether a requirement that held may cease to: only what never falls is safe to compare upwards with."""
    if (
        requirement.operator not in ("gte", "gt")
        or requirement.currency is not None
        or requirement.progress is not None
    ):
        return True
    if requirement.metric is None:
        return False
    metric = program.metrics[requirement.metric]
    return metric.kind in ("last", "min") or (metric.kind == "sum" and not _never_negative(metric))


def _never_negative(metric: Metric) -> bool:
    """Tell whether a sum's condition keeps negative numbers out."""
    leaf = metric.when or {}
    return (
        leaf.get("field") == metric.sum and operator_of(leaf.get("op")) in ("gt", "gte") and leaf.get("value", -1) >= 0
    )


def _state_fields(raw: Mapping[str, Any] | None) -> list[str]:
    if raw is None:
        return []
    parts = (*raw.get("all", ()), *raw.get("any", ()), *([raw["not"]] if "not" in raw else ()))
    fields = [field for part in parts for field in _state_fields(part)]
    if "field" in raw and split_field(raw["field"])[0] in (*STATE_ROOTS, "user"):
        fields.append(raw["field"])
    return fields
