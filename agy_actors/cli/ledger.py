"""Finds out which prompts of a run are already answered.

Only a few numbers per prompt and record are stored, so that a million take about 50 MB: the
position, and the 64-bit hashes of the id and of the text (`hash`, which differs between
processes). The file of prompts is read twice; the second time for the unanswered prompts.

Guarantees:

*   Each prompt has a unique id: its own, or one made from its text (if several prompts have the
    same text, ``-n`` is added for the n-th).
*   A prompt is answered if a record with its id and its text has no error and is not a
    rehearsal's (in a rehearsal, such records count too). If an id has several records, the last
    one counts and supersedes the others. A rehearsal's record does not supersede an answer.
*   The ids of records of earlier versions are line numbers, and the lines may have moved. These
    records are matched by their text: the n-th record of a text belongs to the n-th prompt with
    this text and without its own id.
"""

from __future__ import annotations

import re
import threading
from array import array
from typing import TYPE_CHECKING

from agy_actors.cli.prompts import PromptLine
from agy_actors.cli.records import REHEARSAL, Record, text_id
from agy_actors.cli.usage_problem import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agy_actors.cli.prompts import Entry

__all__ = ["Ledger"]

_PARTS, _OLD_PARTS = 4, 16
"""Ids and the texts of old records are compared in this many parts, because one dictionary of all
would be large. Arbitrary: more parts take less memory and more time."""

_OLD_ID = re.compile(r"line-(\d{1,18})")
_ANSWERED, _REHEARSED = 1, 2  # Bits of a record's state.
_NO_RECORD = -1


class Ledger:
    """The prompts of a run, and the existing records. `note` and `superseded` are thread-safe.

    Call `add_records` at most once, and then `pending`.

    Args:
        read: reads all prompts; called more than once.
        name: the name of the file of prompts, for errors.
        rehearsal: whether this run is a rehearsal.

    Raises:
        UsageProblem: a prompt cannot be read, or two prompts have the same id.
    """

    def __init__(
        self, read: Callable[[], Iterator[Entry]], name: str, *, rehearsal: bool = False
    ) -> None:
        self._read = read
        self._name = name
        self._rehearsal = rehearsal
        self._lock = threading.Lock()
        # For each prompt, by its number.
        self._ids, self._texts = array("q"), array("q")
        self._named = bytearray()
        self._nth: dict[int, int] = {}
        """n for the n-th prompt with the same text, from the second."""
        self._ids_like_old: dict[int, int] = {}
        self._answered = bytearray()
        self._record_of = self._old_record_of = array("q")
        # For each record, in the order of the file.
        self._record_ids, self._record_texts = array("q"), array("q")
        self._offsets = array("Q")
        self._states = bytearray()
        # For each record whose id is a line number.
        self._old_records, self._old_lines = array("q"), array("q")
        self._superseded = array("Q")
        self._read_prompts()

    def __repr__(self) -> str:
        return f"<Ledger: {self.total} prompts, {len(self._offsets)} records>"

    @property
    def total(self) -> int:
        """The number of prompts."""
        return len(self._ids)

    @property
    def superseded(self) -> list[int]:
        """The offsets of the superseded records, in ascending order."""
        with self._lock:
            return sorted(set(self._superseded))

    def add_records(self, records: Iterable[tuple[Record, int]]) -> None:
        """Add the earlier records, in the order of the file, each with its offset."""
        for record, offset in records:
            rehearsed = record.model == REHEARSAL
            answered = not record.failed and (self._rehearsal or not rehearsed)
            old = _OLD_ID.fullmatch(record.id) if record.old else None
            if old is None:
                self._record_ids.append(hash(record.id))
            else:
                # If the file of prompts was changed, several texts may have the same line.
                self._record_ids.append(hash((record.id, record.prompt)))
                self._old_records.append(len(self._offsets))
                self._old_lines.append(int(old[1]))
            self._record_texts.append(hash(record.prompt))
            self._states.append(_ANSWERED * answered | _REHEARSED * rehearsed)
            self._offsets.append(offset)

    def pending(self) -> list[PromptLine]:
        """Find the unanswered prompts.

        Raises:
            UsageProblem: the file of prompts has changed since it was read.
        """
        total = self.total
        self._answered = bytearray(total)
        self._record_of = array("q", [_NO_RECORD]) * total
        self._old_record_of = array("q", [_NO_RECORD]) * (total if self._old_records else 0)
        counts = bytearray(len(self._offsets))
        for part in range(_PARTS):
            self._match(part, counts)
        for part in range(_OLD_PARTS if self._old_records else 0):
            self._match_old(part, counts)
        pending = list(self._unanswered())
        # From now on only the offsets of the records are needed.
        self._record_ids, self._record_texts = array("q"), array("q")
        return pending

    def note(self, prompt: PromptLine) -> None:
        """Record that a new record of this prompt was written; it supersedes earlier ones."""
        with self._lock:
            for records in (self._record_of, self._old_record_of):
                record = records[prompt.index] if records else _NO_RECORD
                if record == _NO_RECORD:
                    continue
                if not (self._rehearsal and _is_real_answer(self._states[record])):
                    self._superseded.append(self._offsets[record])

    def _read_prompts(self) -> None:
        for number, entry in enumerate(self._read()):
            id_ = entry.id
            if id_ is not None and _OLD_ID.fullmatch(id_):
                self._ids_like_old[number] = hash((id_, entry.prompt))
            self._ids.append(hash(text_id(entry.prompt) if id_ is None else id_))
            self._texts.append(hash(entry.prompt))
            self._named.append(id_ is not None)
        if repeated := self._repeated():
            self._make_unique(repeated)

    def _repeated(self) -> dict[int, int]:
        """Map each prompt whose id is repeated to the first prompt with this id."""
        repeated: dict[int, int] = {}
        for part in range(_PARTS):
            first: dict[int, int] = {}
            for number, id_ in _part(self._ids, part):
                before = first.setdefault(id_, number)
                if before != number:
                    repeated[number] = before
        return dict(sorted(repeated.items()))

    def _make_unique(self, repeated: dict[int, int]) -> None:
        """Give unique ids to prompts with the same text and without their own id."""
        times: dict[int, int] = {}
        firsts = set(repeated.values())
        places: dict[int, Entry] = {}
        for number, entry in enumerate(self._read()):
            if number in firsts:
                places[number] = entry
            if number not in repeated:
                continue
            first = repeated[number]
            if entry.id is not None or places[first].id is not None:
                self._raise_repeated(entry, places[first])
            times[first] = times.get(first, 1) + 1
            self._nth[number] = times[first]
            self._ids[number] = hash(f"{text_id(entry.prompt)}-{times[first]}")
        if again := self._repeated():  # A prompt's own id equals one of these.
            number, first = next(iter(again.items()))
            entries = dict(enumerate(self._read()))
            self._raise_repeated(entries[number], entries[first])

    def _raise_repeated(self, entry: Entry, first: Entry) -> None:
        raise UsageProblem(
            f"{self._name}, {entry.place}: the id {entry.id or first.id!r} is also the id of"
            f" {first.place}; give each prompt a unique id, or give no ids"
        )

    def _match(self, part: int, counts: bytearray) -> None:
        """Find the records that count in one part of the ids, and match them with prompts."""
        states = self._states
        last: dict[int, int] = {}
        for record, id_ in _part(self._record_ids, part):
            before = last.setdefault(id_, record)
            if before == record:
                continue
            if states[record] & _REHEARSED and _is_real_answer(states[before]):
                self._superseded.append(self._offsets[record])
            else:
                last[id_] = record
                self._superseded.append(self._offsets[before])
        for number, id_ in _part(self._ids, part):
            found = last.get(id_)
            if found is not None:
                self._match_record(number, found, self._record_of)
        for number, id_ in self._ids_like_old.items():
            if id_ in last:
                self._match_record(number, last[id_], self._old_record_of)
        for record in last.values():
            counts[record] = True

    def _match_record(self, number: int, record: int, records: array[int]) -> None:
        if not records:
            return
        records[number] = record
        if self._states[record] & _ANSWERED and self._record_texts[record] == self._texts[number]:
            self._answered[number] = True

    def _match_old(self, part: int, counts: bytearray) -> None:
        """Match the records whose ids are line numbers with prompts, in one part of the texts."""
        of_text: dict[int, list[tuple[int, int]]] = {}
        for record, line in zip(self._old_records, self._old_lines, strict=True):
            text = self._record_texts[record]
            if text % _OLD_PARTS == part and counts[record]:
                of_text.setdefault(text, []).append((line, record))
        for number, text in _part(self._texts, part, _OLD_PARTS):
            found = sorted(of_text.get(text, ()))
            nth = self._nth.get(number, 1)
            if nth > len(found) or self._named[number]:
                continue
            record = found[nth - 1][1]
            if not self._answered[number]:
                self._match_record(number, record, self._old_record_of)
            elif not self._states[record] & _ANSWERED:
                self._superseded.append(self._offsets[record])

    def _unanswered(self) -> Iterator[PromptLine]:
        read = 0
        for number, entry in enumerate(self._read()):
            read += 1
            if number >= self.total or hash(entry.prompt) != self._texts[number]:
                break
            if self._answered[number]:
                continue
            id_ = entry.id
            if id_ is None:
                nth = self._nth.get(number)
                id_ = text_id(entry.prompt) + ("" if nth is None else f"-{nth}")
            yield PromptLine(number, id_, entry.prompt, entry.extra)
        else:
            if read == self.total:
                return
        raise UsageProblem(f"{self._name} was changed while it was read; run the command again")


def _part(values: array[int], part: int, parts: int = _PARTS) -> Iterator[tuple[int, int]]:
    """Return the values of one part, each with its position."""
    return ((place, value) for place, value in enumerate(values) if value % parts == part)


def _is_real_answer(state: int) -> bool:
    return state & (_ANSWERED | _REHEARSED) == _ANSWERED
