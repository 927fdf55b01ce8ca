"""Whose a thing is, asked of the database; and the same as conditions for lists."""

from replyhook_receiver.stores.owners import Thing
from replyhook_receiver.stores.sql.connection import Raw
from replyhook_receiver.stores.sql.database import Database

OWN_JOBS = '(SELECT id FROM jobs WHERE "user" = :user)'
"""The ids of a user's jobs, to be used with ``IN``."""

_IS_USERS = {
    Thing.JOB: 'SELECT 1 FROM jobs WHERE id = :id AND "user" = :user',
    # One that only its callback's token told us of, and that names no user, is filled in by whoever registers it.
    Thing.NEW_JOB: """
        SELECT 1 WHERE NOT EXISTS (
            SELECT 1 FROM jobs WHERE id = :id
                AND (CASE WHEN "user" IS NULL THEN registration IS NOT NULL ELSE "user" <> :user END))
    """,
    Thing.CALLBACK: 'SELECT 1 FROM callbacks c JOIN jobs j ON j.id = c.job_id WHERE c.id = :id AND j."user" = :user',
    Thing.ENDPOINT: """
        SELECT 1 FROM endpoints e LEFT JOIN jobs j ON j.id = e.job_id
        WHERE e.id = :id AND CASE WHEN e.job_id IS NULL THEN e."user" ELSE j."user" END = :user
    """,
    Thing.DELIVERY: """
        SELECT 1 FROM deliveries d
        JOIN notifications n ON n.sequence = d.notification
        JOIN jobs j ON j.id = n.job_id
        JOIN endpoints e ON e.id = d.endpoint_id
        WHERE d.id = :id AND j."user" = :user AND (e.job_id IS NOT NULL OR e."user" = :user)
    """,
}


class SQLOwners:
    """The ``Owners`` protocol over the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_users(self, thing: Thing, ident: str, user: str) -> bool:
        return await self._database.read(lambda raw: is_users(raw, thing, ident, user))


def is_users(raw: Raw, thing: Thing, ident: str, user: str) -> bool:
    """Whether this is ``user``'s."""
    return raw.execute(_IS_USERS[thing], {"id": ident, "user": user}).fetchone() is not None
