"""What the HTTP API is, told by itself: `/openapi.json` and `/docs`, made from the models that take and answer."""
