"""What a page's filter form asks for, as the API's lists take it: an empty field is no filter."""

import re

from starlette.requests import Request

_TIMES = ("created_after", "created_before", "since", "until")
_WITHOUT_ZONE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?)?")


def asked_for(request: Request) -> dict[str, str]:
    """The filters that are filled in. A browser's time has no zone: it is taken for UTC, as the form says."""
    asked = {name: value.strip() for name, value in request.query_params.items() if value.strip()}
    for name in _TIMES:
        text = asked.get(name, "")
        if _WITHOUT_ZONE.fullmatch(text):
            asked[name] = f"{text if 'T' in text else text + 'T00:00'}Z"
    return asked
