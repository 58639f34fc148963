"""Events that PostgreSQL refuses, with an error of the test's choice: a real fault of a real server."""

from collections.abc import AsyncIterator

import pytest
from conftest_api import Instance


class Poison:
    """A trigger by which PostgreSQL refuses what events do, with the error that was chosen for each."""

    def __init__(self, questline: Instance) -> None:
        self._owner = questline.owner

    async def install(self) -> None:
        await self._owner.execute("""
            CREATE SEQUENCE poisonings;  -- counts what is rolled back as well
            CREATE TABLE poison (event_id uuid PRIMARY KEY, code text NOT NULL);
            GRANT SELECT ON poison TO public;
            GRANT USAGE ON poisonings TO public;
            CREATE FUNCTION poisoned() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE found_code text := (SELECT code FROM poison WHERE event_id = NEW.event_id);
            BEGIN
                IF found_code IS NOT NULL THEN
                    PERFORM nextval('poisonings');
                    RAISE EXCEPTION 'the poison of %', NEW.event_id USING ERRCODE = found_code;
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER poisoned BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION poisoned()""")

    async def give(self, event_id: str, code: str) -> None:
        await self._owner.execute("INSERT INTO poison VALUES ($1, $2)", event_id, code)

    async def given_twice(self) -> bool:
        return await self._owner.fetchval("SELECT last_value >= 2 FROM poisonings")

    async def heal(self) -> None:
        await self._owner.execute("DELETE FROM poison")

    async def remove(self) -> None:
        await self._owner.execute(
            "DROP TRIGGER poisoned ON transfers; DROP FUNCTION poisoned; DROP TABLE poison; DROP SEQUENCE poisonings"
        )


@pytest.fixture
async def poison(questline: Instance) -> AsyncIterator[Poison]:
    """A poison that goes with the test."""
    given = Poison(questline)
    await given.install()
    yield given
    await given.remove()
