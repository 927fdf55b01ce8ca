"""The endpoints of the settings: checked when they are new, and brought into the store at the start."""

from collections.abc import Sequence
from datetime import datetime

from replyhook.errors import ConfigurationError, InvalidRequest
from replyhook_receiver.channels.registry import Channels
from replyhook_receiver.endpoints import EndpointOrigin, NewEndpoint
from replyhook_receiver.stores.endpoints import Endpoints
from replyhook_receiver.stores.sql.endpoints import MAX_STANDING


async def settle_endpoints(
    wanted: Sequence[NewEndpoint], *, endpoints: Endpoints, channels: Channels, now: datetime
) -> None:
    """Let the store hold the settings' endpoints. Raises ``ConfigurationError`` for one that could never be notified.

    One that is known already is not looked up again: a name server's bad day must not keep callbacks from being taken.
    """
    if len(wanted) > MAX_STANDING:
        raise ConfigurationError(f"endpoints: {len(wanted)} are more than the {MAX_STANDING} there may be")
    known = await endpoints.list(origin=EndpointOrigin.SETTINGS, limit=MAX_STANDING)
    places = {(endpoint.name, endpoint.channel, endpoint.url) for endpoint in known}
    for endpoint in wanted:
        if endpoint.channel not in channels or (endpoint.name, endpoint.channel, endpoint.url) not in places:
            try:
                await channels.check(endpoint.channel, endpoint.url, from_settings=True)
            except InvalidRequest as error:
                # It ends the start, and is logged with all that led to it: the URL, which may be a secret, with it.
                raise ConfigurationError(f"endpoint {endpoint.name!r}: {error}") from None
    await endpoints.synchronise(wanted, now=now)
