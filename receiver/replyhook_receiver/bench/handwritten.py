"""What most people write by hand: FastAPI, SQLAlchemy's ORM over aiosqlite, one commit for each callback.

It is meant to be good work of its kind: a signed token, a checked body, rows for callback, event, job and task in one
transaction, WAL and ``synchronous=FULL`` as in ours. Its packages come with ``replyhook[bench]`` alone.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel
from sqlalchemy import JSON, String, UniqueConstraint, event, func, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class _Base(DeclarativeBase):
    pass


class _Job(_Base):
    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    status: Mapped[str]
    result_url: Mapped[str | None]
    updated_at: Mapped[datetime]


class _Callback(_Base):
    __tablename__ = "callbacks"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String, index=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    received_at: Mapped[datetime]


class _Event(_Base):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String, index=True)
    status: Mapped[str]
    __table_args__ = (UniqueConstraint("job_id", "status"),)


class _Task(_Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    job_id: Mapped[str] = mapped_column(String, index=True)
    due_at: Mapped[datetime] = mapped_column(index=True)


class _Body(BaseModel):
    video_id: str
    video_status_name: str
    url: str | None = None


def create_handwritten(path: Path, key: str) -> FastAPI:
    """The application, with its database at ``path`` and tokens signed by ``key``."""
    # One connection: with more, reads that turn into writes fail with "database is locked" under load.
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=1, max_overflow=0, pool_timeout=60)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    serializer = URLSafeSerializer(key, salt="callback")

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(_Base.metadata.create_all)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/callbacks/{token}", response_class=PlainTextResponse)
    async def take(token: str, body: _Body) -> str:
        try:
            job_id = serializer.loads(token)["job"]
        except BadData as error:
            raise HTTPException(401) from error
        now = datetime.now(UTC)
        async with sessions() as session:
            job = await session.get(_Job, job_id)
            if job is None:
                job = _Job(id=job_id, status="created", updated_at=now)
                session.add(job)
            session.add(_Callback(job_id=job_id, body=body.model_dump(), received_at=now))
            seen = select(_Event.id).where(_Event.job_id == job_id, _Event.status == body.video_status_name)
            if (await session.execute(seen)).first() is None:
                session.add(_Event(job_id=job_id, status=body.video_status_name))
                job.status, job.result_url, job.updated_at = body.video_status_name, body.url, now
                session.add(_Task(kind="download", job_id=job_id, due_at=now))
            await session.commit()
        return "ok"

    async def stored() -> int:
        async with sessions() as session:
            return (await session.execute(select(func.count(_Callback.id)))).scalar_one()

    app.state.stored = stored
    return app
