"""Which event types a publishable key may not send, because a browser could make them up."""

from questline.model.principal import Project

TRUSTED_TYPES = frozenset(
    {
        "purchase", "checkout_complete", "checkout_success", "commission.created", "referral_success",
        "user.leveled_up", "step.completed", "quest.completed",
    }
)  # fmt: skip


def untrusted(event_type: str, project: Project) -> bool:
    """Tell whether events of a type must come from a server, with a secret key."""
    return event_type in TRUSTED_TYPES or event_type in project.trusted_types
