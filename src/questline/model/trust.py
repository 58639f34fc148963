"""Which event types only a server may send, because a browser could make them up; a program may mark more."""

TRUSTED_TYPES = frozenset(
    {
        "purchase", "checkout_complete", "checkout_success", "commission.created", "referral_success",
        "user.leveled_up", "step.completed", "quest.completed",
    }
)  # fmt: skip
