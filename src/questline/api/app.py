"""The API without the hot paths: every route under /v1, every error a problem document."""

from functools import cache
from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.routes import HTTPRoute

from questline.api import (
    achievements,
    apps,
    audit,
    blocks,
    coupons,
    daily,
    deliveries,
    dlq,
    end_users,
    event_types,
    events,
    incidents,
    invitations,
    keys,
    leaderboards,
    leagues,
    member_passwords,
    members,
    organizations,
    program,
    projects,
    referrals,
    replays,
    retroactive,
    reviews,
    rewards,
    sessions,
    signing,
    store,
    streaks,
    system,
    user_passwords,
    user_tokens,
    users,
)
from questline.api.bodies import ApiRequest
from questline.api.callers import DEPENDENCIES
from questline.api.description.document import document
from questline.api.errors import handle
from questline.api.front import Front, strangers, whole_ids
from questline.api.hot.commands import HOT_COMMANDS
from questline.api.hot.router import HOT_PATHS
from questline.api.meters import ApiMeters
from questline.api.methods import Methods
from questline.api.once import caller_of, once
from questline.api.services import Services
from questline.api.staff import STAFF_DEPENDENCIES
from questline.model.limits import PUBLIC_BODY_BYTES_MAX, REQUEST_BODY_BYTES_MAX

RESOURCES: list[Any] = [
    apps.create_an_app,
    apps.get_an_app,
    apps.set_rate_limits,
    users.upsert_user,
    users.get_profile,
    users.get_history,
    blocks.block_user,
    blocks.unblock_user,
    reviews.list_reviews,
    reviews.approve_review,
    reviews.deny_review,
    achievements.get_standing,
    achievements.get_progress,
    retroactive.preview_award,
    retroactive.start_award,
    incidents.report_incident,
    incidents.list_incidents,
    incidents.get_incident,
    streaks.pause_streak,
    streaks.restore_streak,
    streaks.choose_target,
    streaks.choose_day_start,
    daily.list_notices,
    rewards.list_grants,
    rewards.revoke_grant,
    coupons.upload_coupons,
    coupons.get_coupons,
    store.list_stocks,
    store.list_fulfilments,
    store.complete_fulfilment,
    store.fail_fulfilment,
    daily.get_inventory,
    referrals.get_referral_code,
    referrals.list_referrals,
    events.get_event,
    events.list_events,
    leaderboards.get_leaderboard,
    leagues.get_user_leagues,
    projects.get_project,
    projects.update_project,
    projects.list_projects,
    projects.create_project,
    projects.archive_project,
    projects.restore_project,
    organizations.create_organization,
    organizations.list_organizations,
    organizations.get_organization,
    organizations.update_organization,
    organizations.archive_organization,
    organizations.list_organization_acts,
    organizations.export_organization_acts,
    members.list_members,
    members.update_member,
    members.remove_member,
    invitations.invite_member,
    invitations.list_invitations,
    invitations.revoke_invitation,
    invitations.accept_invitation,
    sessions.log_in_member,
    sessions.log_out_member,
    sessions.get_me,
    member_passwords.change_password,
    member_passwords.issue_member_password_reset,
    member_passwords.reset_member_password,
    audit.list_acts,
    audit.export_acts,
    deliveries.deliver_again,
    dlq.list_dead_letters,
    dlq.count_dead_letters,
    dlq.retry_dead_letters,
    dlq.discard_dead_letters,
    replays.start_replay,
    replays.list_replays,
    replays.get_replay,
    end_users.register_user,
    end_users.log_in_user,
    end_users.refresh_user,
    end_users.log_out_user,
    user_passwords.change_own_password,
    user_passwords.issue_password_reset,
    user_passwords.issue_reset_of_login,
    user_passwords.reset_user_password,
    user_tokens.mint_user_token,
    user_tokens.get_own_profile,
    signing.rotate_signing_secret,
    signing.list_signing_secrets,
    signing.remove_signing_secret,
    keys.create_key,
    keys.list_keys,
    keys.rotate_key,
    keys.revoke_key,
    program.get_program,
    program.put_program,
    program.plan_program,
    program.get_schema,
    program.list_versions,
    program.get_version,
    program.list_section,
    program.add_to_section,
    program.get_entry,
    program.put_entry,
    program.delete_entry,
    event_types.list_event_types,
    event_types.get_event_type,
    event_types.put_event_type,
    event_types.delete_event_type,
    event_types.infer_event_type,
]
SYSTEM: list[Any] = [system.health, system.ready, system.metrics, system.openapi, system.docs]


def build(services: Services) -> Front:
    """Return the application over what its handlers share."""
    app = Litestar(**_ROUTES, openapi_config=None, state=State({"services": services, "description": description}))
    methods = Methods(
        [(route.path_format, route.methods) for route in app.routes if isinstance(route, HTTPRoute)]
        + [(path, ["POST"]) for path in (*HOT_PATHS, *(f"/v1{command.path}" for command in HOT_COMMANDS))]
    )
    app.state["methods"] = methods
    return Front(app, services.new_id, ApiMeters(services.registry), services.rates, methods)


@cache
def description() -> dict[str, Any]:
    """Return the OpenAPI document. It comes from an application that is never served, whose own pages need the network."""
    return document(Litestar(**_ROUTES, openapi_config=OpenAPIConfig(title="Questline", version="1")))


_FOR_ANYBODY = [handler for handler in RESOURCES if caller_of(handler) is None]
_ROUTES: dict[str, Any] = {
    "route_handlers": [
        Router("/v1", route_handlers=[handler for handler in RESOURCES if caller_of(handler) is not None]),
        Router("/v1", route_handlers=_FOR_ANYBODY, request_max_body_size=PUBLIC_BODY_BYTES_MAX),
        *SYSTEM,
    ],
    "dependencies": {**DEPENDENCIES, **STAFF_DEPENDENCIES, "chosen": Provide(audit.chosen_acts)},
    "exception_handlers": {Exception: handle},
    "middleware": [strangers, whole_ids, once],
    "request_class": ApiRequest,
    "request_max_body_size": REQUEST_BODY_BYTES_MAX,
    "debug": False,
}
