"""How an extra is installed, said alike wherever a program finds that it is missing."""


def how_to_install(extra: str) -> str:
    """The command, and where it finds replyhook."""
    return f"pip install 'replyhook[{extra}]' (in a folder with its source: pip install '.[{extra}]')"
