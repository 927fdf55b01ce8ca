"""The web application: the callback route, the API, and how it is all put together."""
