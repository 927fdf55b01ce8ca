"""`/v1/settings`: the settings in force and where each comes from, as `replyhook config show` prints them."""

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replyhook_receiver.config import Settings
from replyhook_receiver.configuring import Said
from replyhook_receiver.effective import effective
from replyhook_receiver.web.answering import answer
from replyhook_receiver.web.auth import ApiKeys
from replyhook_receiver.web.provider_models import SettingList

_BY_PROGRAM = "given by the program that started it"


class SettingsApi:
    """What the endpoint stands on. ``said`` is where the settings come from; None where a program gave them."""

    def __init__(self, settings: Settings, said: Said | None) -> None:
        self._settings = settings
        self._said = said or _said_by_program(settings)

    def routes(self, keys: ApiKeys) -> list[Route]:
        """The route, for those with a key."""
        return [Route("/v1/settings", keys.guard(self.list), methods=["GET"])]

    async def list(self, _: Request) -> Response:
        """Each setting: its name, its value with secrets masked, and where it was said."""
        found = await to_thread.run_sync(lambda: list(effective(self._settings, self._said)))
        return answer(SettingList, {"data": [msgspec.to_builtins(each) for each in found]})


def _said_by_program(settings: Settings) -> Said:
    own = [(name,) for name in settings.model_fields_set if name != "providers"]
    theirs = [("providers", name, entry) for name, given in settings.providers.items() for entry in given]
    return Said(values={}, providers={}, origins=dict.fromkeys([*own, *theirs], _BY_PROGRAM))
