"""The web application, through HTTP."""
