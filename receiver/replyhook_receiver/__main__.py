"""The ``replyhook`` command: says which extra to install where the receiver's parts are missing."""

import gc
import sys
from importlib.util import find_spec

from replyhook_receiver.extras import how_to_install

_NEEDED = (
    "click",
    "rich",
    "starlette",
    "uvicorn",
    "aiosmtplib",
    "aiosqlite",
    "pydantic_settings",
    "nacl",
    "ssrfguard",
)
NOT_CONFIGURED = 4
_OBJECTS_A_LOOK = 50_000
"""What is loaded holds no cycles to speak of; to look for them every 700 objects, as is usual, makes every start an
eighth longer."""


def main() -> None:
    """Run the command line."""
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(
            "replyhook: only the client library is installed; the command line and the receiver need more:\n"
            f"    {how_to_install('all')}\n"
        )
        sys.exit(NOT_CONFIGURED)
    gc.set_threshold(_OBJECTS_A_LOOK, 20, 20)
    from replyhook_receiver.cli import run

    run()


if __name__ == "__main__":
    main()
