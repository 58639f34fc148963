"""What a new version may not change under a name: the periods in which what users have under it is counted."""

from collections.abc import Iterator

from questline.engine.program_error import ProgramError
from questline.model.program import ProgramDocument

COUNTED_IN_PERIODS = ("quests", "streaks")  # sections of a program


def successions(known: ProgramDocument, new: ProgramDocument) -> Iterator[ProgramError]:
    """Yield what does not go on from what users have; `known` has the latest definition of each name so far.

    Days, weeks and months are numbered each from their own beginning: compared with another, a number is never reached.
    """
    for name, streak in new.streaks.items():
        before = known.streaks.get(name)
        if before is not None and streak.every != before.every:
            yield _other(f"streaks.{name}.every", before.every, streak.every, "streaks")
    for name, quest in new.quests.items():
        run = known.quests.get(name)
        if run is not None and run.every is not None and quest.every != run.every:
            yield _other(f"quests.{name}.type", run.type, quest.type, "runs")


def _other(path: str, before: str, after: str, what: str) -> ProgramError:
    return ProgramError(
        path,
        f"cannot become {after!r}: the {what} that users have under this name are counted by {before!r}; "
        f"leave it, or give what is new another name",
    )
