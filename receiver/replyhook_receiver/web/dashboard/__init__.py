"""The dashboard: pages for people, under the same rules as the API.

A page is a class with ``routes()`` over the ``Ground``, in a file of its own, with a template that extends
``layout.html``, and a line in ``app.py``. Its routes are ``ground.page`` and ``ground.form``; each has a row in
``route_scopes.PAGES``, which names the API's route whose rule it is under. What a page shows and does it asks of the
API, by ``asking.ask``: nothing is checked or decided twice. What a form does goes through ``deeds.press``, so that it
is noted. Links are ``url(name)``, files ``asset(name)``; a part of a page that keeps itself up to date is
``<div {{ live(id, here) }}>``; a button is shown where ``may("POST /jobs/{id}/cancel")`` says so.
"""
