"""/v1/fulfilments/{id}/deliver: a message to the project's webhook, sent again when somebody has mended what was wrong."""

from litestar import post

from questline.api.acts import Acts
from questline.api.callers import Admin, needs
from questline.api.problems import Problem
from questline.api.services import Services
from questline.control.rewards import DeliveryView, delivery_view
from questline.model.permissions import Scope
from questline.store import deliveries, fulfilments
from questline.store.pool import service_transaction


@post(
    "/fulfilments/{fulfilment_id:str}/deliver",
    status_code=200,
    tags=["fulfilments"],
    opt=needs(Scope.REWARDS_WRITE, act="fulfilment.deliver"),
)
async def deliver_again(fulfilment_id: str, admin: Admin, acts: Acts, services: Services) -> DeliveryView:
    """Send the message about a pending fulfilment again at once, with all its tries before it; under the same id.

    Only one that waits, or that was answered 202, is sent again: any other answer settles the fulfilment.
    """
    project_id = admin.project.id
    async with service_transaction(services.pool) as conn:
        found = await fulfilments.delivery(conn, project_id, fulfilment_id)
        if found is None:
            raise Problem(404, "not-found", f"there is no fulfilment by webhook {fulfilment_id!r}")
        if not found.under_way:
            if not await deliveries.send_again(conn, project_id, fulfilment_id):
                raise Problem(409, "not-pending", "it was answered or settled, and nothing is sent for it any more")
            await acts.write(conn, admin, "fulfilment", fulfilment_id)
            found = await fulfilments.delivery(conn, project_id, fulfilment_id) or found
    return delivery_view(found)
