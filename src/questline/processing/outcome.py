"""What an event changed, as its caller is told: the same words whether it was decided now or long ago."""

from typing import Any

from questline.model.decision import Decision
from questline.model.records import UNTOLD
from questline.model.stocks import CodeUse
from questline.processing.apply import Verdict
from questline.store.commands import StoredOutcome
from questline.store.effects import shown

Told = tuple[str, str, str, dict[str, Any]]  # status, reason, message, outcome


def tells_codes(ended: Verdict | StoredOutcome) -> bool:
    """Tell whether an event told its user codes of coupons, which the coupons themselves know."""
    if isinstance(ended, StoredOutcome):
        return "codes" in ended.trace
    return isinstance(ended.result, Decision) and any(move.use is CodeUse.SHOW for move in ended.result.codes)


def outcome_of(verdict: Verdict) -> Told:
    """Tell what a fresh verdict changed."""
    decision = verdict.result
    if not isinstance(decision, Decision):
        return "failed", decision.reason.value, decision.message, {}
    outcome = {
        "transfers": [
            {"currency": t.currency, "debit": t.debit, "credit": t.credit, "amount": t.amount, "rule": t.rule}
            for t in decision.transfers
        ],
        "balances": verdict.balances,
        "levels": [{"track": c.track, "before": c.before, "after": c.after} for c in decision.levels],
        "streaks": [
            {"streak": c.streak, "before": c.length_before, "after": c.state.length, "longest": c.state.longest}
            for c in decision.streaks
        ],
        "unlocks": [
            {"achievement": u.achievement, "tier": u.state.tier, "times": u.state.times} for u in decision.unlocks
        ],
        "records": [
            {"kind": r.kind, "name": r.name, "before": shown(r.before), "after": shown(r.state), "cause": r.cause}
            for r in decision.records
            if r.kind not in UNTOLD
        ],
        "guards": [
            {"guard": t.guard, "kind": t.kind, "action": t.action, "values": t.values, "score": t.score}
            for t in decision.trips
        ],
        "programVersion": decision.program_version,
    }
    return decision.outcome.value, decision.reason.value, decision.message, outcome


def stored_outcome(stored: StoredOutcome) -> Told:
    """Tell what a stored decision changed; its balances are those right after it where the trace keeps them."""
    if stored.status is None:
        return "pending", "", "", {}
    trace = stored.trace
    outcome = {
        "transfers": stored.transfers,
        "balances": trace.get("balances", {}),
        "levels": [{"track": t, "before": b, "after": a} for t, b, a in trace.get("levels", [])],
        "streaks": [
            {"streak": s, "before": before, "after": after, "longest": longest}
            for s, before, after, _, longest in trace.get("streaks", [])
        ],
        "unlocks": [
            {"achievement": a, "tier": tier, "times": times} for a, _, tier, _, times in trace.get("unlocks", [])
        ],
        "records": [
            {"kind": kind, "name": name, "before": before, "after": after, "cause": cause}
            for kind, name, before, after, cause in trace.get("records", [])
        ],
        "guards": [
            {"guard": guard, "kind": kind, "action": action, "values": values, "score": score}
            for guard, kind, action, values, score in trace.get("guards", [])
        ],
        "programVersion": stored.program_version,
    }
    return stored.status, stored.reason, stored.message, outcome
