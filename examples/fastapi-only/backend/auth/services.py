"""Business layer: what the application does with what it knows about its readers.

Signing up and in, with their rules for passwords, are Narthex's. What is left is ours, and needs no HTTP.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.auth.models import Reader, ReaderRow
from backend.auth.schemas import Profile, Suggestion

FIRST_STEPS = "1. First steps"
SENSORS = "3. Sensors and motors"
NODES = "4. Nodes and messages"
SIMULATION = "6. Simulation"


def profile(session: Session, reader: Reader) -> Profile | None:
    """The reader as the database has them now; nothing when they are gone."""
    row = session.get(ReaderRow, reader.id)
    return None if row is None else Profile.model_validate(row, from_attributes=True)


def suggestion(session: Session, reader: Reader) -> Suggestion:
    """A chapter for their background, and how many others have the same."""
    chapter, because = first_chapter(reader)
    same = (
        select(func.count())
        .select_from(ReaderRow)
        .where(
            ReaderRow.id != reader.id,
            ReaderRow.software_background.is_not_distinct_from(reader.software_background),
            ReaderRow.hardware_background.is_not_distinct_from(reader.hardware_background),
        )
    )
    return Suggestion(chapter=chapter, because=because, readers_like_you=session.scalar(same) or 0)


def first_chapter(reader: Reader) -> tuple[str, str]:
    match bool(reader.software_background), bool(reader.hardware_background):
        case True, True:
            return SIMULATION, "you know software and hardware"
        case True, False:
            return SENSORS, "you know software"
        case False, True:
            return NODES, "you know hardware"
        case _:
            return FIRST_STEPS, "everybody begins somewhere"
