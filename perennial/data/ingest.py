"""Reading the files of a run: each row is checked, hashed, dealt to a set and written to a spill file."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import drift
from perennial.data.broken import Broken
from perennial.data.contract import Checked, Contract, check, parsed
from perennial.data.csv_files import Batch
from perennial.data.duplicates import DuplicateCounter, HashSample
from perennial.data.files import copies_among, each_batch
from perennial.data.header import FileError, NoRowsError
from perennial.data.machines import About, Machines
from perennial.data.moved import as_question
from perennial.data.quarantine import Quarantine
from perennial.data.report import Report
from perennial.data.row_hasher import RowHasher
from perennial.data.row_numbers import Each, RowNumbers, Within, count_true
from perennial.data.rows import (
    CHAMPION,
    CONTENT,
    IDENTITY,
    READ,
    REST,
    UNKNOWN,
    WHOLE,
    combined,
    encoding_of,
    identity_columns,
    is_text,
    reads_alike,
    reads_target_alike,
    specification,
)
from perennial.data.since import ChampionFiles, changed, set_by
from perennial.data.split import LEFT_OUT, REPEATED, TRAIN, Dealt, SeriesHorizon, splitter
from perennial.data.training_window import TrainingPeriod, latest_sound
from perennial.data.units import Numbers, numbers_of
from perennial.features.column import Column
from perennial.features.values import ARROW_TYPES, STRING, Parsed, to_text

MIN_COPIED_ROWS = 20  # of a file that is not read again; a few rows may be the same by chance
REASONS = 10  # in the report, why rows cannot be told
WHOLE_NUMBER = r"^[+-]?[0-9]+\.0+$"  # as exports write it where a column of numbers has missing values

Result = TypeVar("Result")


@dataclass(frozen=True)
class ChampionData:
    """What a run has to know of the model in service.

    definition  its model.yaml, resolved; None when there is no model in service
    new_files   positions of the files that it was not trained on
    absent      its columns that none of its files had, so that they were null in every row
    statistics  the statistics.json of the rows that it was trained on, if its run left one
    widest_row  bytes of its widest encoded row
    trained     what has become of its training files; None where its run left no list of them
    sources     who had set what of its definition otherwise than model.yaml, by path
    """

    definition: Mapping[str, Any] | None = None
    new_files: frozenset[int] = frozenset()
    absent: frozenset[str] = frozenset()
    statistics: Mapping[str, Any] | None = None
    widest_row: int = 0
    trained: ChampionFiles | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    def finds_new(self, number: int) -> bool:
        """Return whether the model in service was not trained on a file; without one all are new."""
        return self.definition is None or number in self.new_files

    def reads_otherwise_than(self, definition: Mapping[str, Any]) -> bool:
        """Return whether a definition takes records, tells rows or reads its target otherwise, or by other columns."""
        champion = self.definition
        return champion is not None and not (
            reads_alike(definition, champion)
            and specification(definition) == specification(champion)
            and reads_target_alike(definition, champion)
        )

    def decodes_otherwise_than(self, definition: Mapping[str, Any]) -> bool:
        """Return whether bytes of files may have been other texts to it than a definition reads."""
        return self.definition is not None and encoding_of(self.definition) != encoding_of(definition)

    def compares(self, names: Sequence[str], definition: Mapping[str, Any]) -> list[str]:
        """Return the columns of a definition whose values mean what those in its statistics mean.

        They are of the same field, read alike, in the same unit. Its statistics are of training rows: of the groups
        that rows were split by they hold some, and no others.
        """
        before = self.definition or definition
        ours, theirs, split = definition["columns"], before["columns"], before["split"]
        re_encoded = self.decodes_otherwise_than(definition)
        return [
            name for name in names
            if name in theirs and all(ours[name].get(key) == theirs[name].get(key) for key in (*READ, "unit"))
            and not (split["method"] == "group" and name == split["column"])
            and not (re_encoded and is_text(ours[name]))
        ]  # fmt: skip

    def since(self, definition: Mapping[str, Any], aside: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what has become of its definition and its training files, given those that a run has put aside."""
        paths = changed(self.definition, definition) if self.definition else []
        since = {"definition": paths, "sources": set_by(self.sources, paths)} if self.definition else {}
        return {**since, **(self.trained.as_report(aside) if self.trained else {})}

    @classmethod
    def read(cls, folder: Path) -> ChampionData:
        """Read champion.json, which the run leaves before it starts the job, and statistics.json if it is there."""
        about, statistics = (_document(folder / name) for name in ("champion.json", "statistics.json"))
        new_files = frozenset(about.get("new_files", ()))
        trained = ChampionFiles.from_json(about.get("trained"))
        absent = frozenset(about.get("absent", ()))
        widest_row, sources = about.get("widest_row", 0), about.get("sources", {})
        return cls(about.get("definition"), new_files, absent, statistics or None, widest_row, trained, sources)


def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


@dataclass(frozen=True)
class _Prepared(Generic[Result]):
    """What breaks the contract in a batch, what a model in service makes of it, and what is kept of its valid rows."""

    checked: Checked
    tally: _Tally | None
    notes: Sequence[str]
    late: tuple[int, str]
    result: Result


class FileReader:
    """Reads files, each by itself: its rows are checked and hashed, and the valid ones kept.

    columns  those of the rows that decide their sets, and by which rows are told to be alike
    """

    def __init__(
        self,
        contract: Contract,
        definition: Mapping[str, Any],
        champion: ChampionData,
        listed_at: datetime | None = None,
    ) -> None:
        reads_twice = champion.reads_otherwise_than(definition)
        self.by_champion = _ByChampion(champion, contract, definition) if reads_twice else None
        self._contract, self._champion, self._listed_at = contract, replace(champion, statistics=None), listed_at
        self._telling = _Telling(contract, definition)
        # Which column dates rows.
        self.dated_by = contract.split_column if definition["split"]["method"] == "time" else contract.window_column
        hashes = (IDENTITY, CONTENT, *((WHOLE,) if contract.key else ()))
        deciding = [name for name in (contract.split_column, contract.window_column) if name]
        self.columns: Sequence[str] = [*hashes, *dict.fromkeys(deciding)]

    def merge(self, other: FileReader) -> None:
        """Take in what another has counted of a file."""
        if self.by_champion and other.by_champion:
            self.by_champion.add(other.by_champion)

    def read(
        self,
        number: int,
        name: str,
        path: Path,
        quarantine: Quarantine,
        about: About,
        keep: Callable[[pa.Table], Result],
    ) -> Iterator[Result]:
        """Yield what is kept of the valid rows of a file, a batch each; add the others to the quarantine.

        All cores read, check and keep batches. Raises FileError.
        """
        contract = self._contract
        columns = (*contract.columns, *(self.by_champion.columns if self.by_champion else ()))
        prepared = partial(self._prepared, keep, self._champion.finds_new(number))
        for batch, rows in each_batch(prepared, path, columns, name, contract.form, about.notes):
            if self.by_champion and rows.tally:
                self.by_champion.count(rows.tally)
            quarantine.add(name, batch, rows.checked)
            about.notes += [note for note in rows.notes if note not in about.notes]
            about.late.append(rows.late)
            about.present |= {*contract.names} - batch.absent if batch.table.num_rows else set()
            yield rows.result

    def _prepared(
        self, keep: Callable[[pa.Table], Result], is_new: bool, batch: Batch
    ) -> tuple[Batch, _Prepared[Result]]:
        """Check and hash a batch, and keep its valid rows; the others are looked at later, if there are any."""
        checked, tally = self._telling.with_hashes(check(self._contract, batch.table)), None
        if self.by_champion:
            checked, tally = self.by_champion.with_hashes(checked, batch, is_new=is_new)
        valid = checked.valid()
        late = _late(valid, self.dated_by, self._listed_at)
        broken = replace(checked, table=checked.table.schema.empty_table())
        prepared = _Prepared(broken, tally, [*_notes_of_keys(self._contract.key, valid)], late, keep(valid))
        return batch if checked.violations else batch.without_fields(), prepared


def ingest(
    files: Sequence[tuple[str, Path | None]],
    contract: Contract,
    definition: Mapping[str, Any],
    champion: ChampionData,
    machines: Machines,
    quarantine: Quarantine,
    report: Report,
    listed_at: datetime | None = None,
    folder: Path | None = None,
) -> RowNumbers:
    """Have the valid rows of the files, each with its name, read and kept; return the set of each.

    files      None is one of a feature group without a record that is a row (data.feature_store)
    listed_at  when the run began; rows that are dated later, by the column of a split by time or of the period that
               trains, are told (report.late)
    folder     where there may be files of what is kept of each row

    A file that cannot be read is put aside, also when that shows at its end: its rows are in no set. Raises FileError
    where the definition says so (quality.stray_files), but for empty files. Without a key, of files of the same bytes
    one is read: with a key the last row counts, and an old file that comes again puts its rows back.
    """
    period = TrainingPeriod.from_definition(definition, listed_at, folder)
    splitting = splitter(definition["split"], period, SeriesHorizon.from_definition(definition, listed_at), folder)
    duplicates = DuplicateCounter()
    copies = DuplicateCounter() if contract.key else duplicates  # told by all that they say
    reader = FileReader(contract, definition, champion, listed_at)
    allowed = definition["quality"]["max_invalid_share"]
    new: list[slice] = []  # where the rows of new files stand
    present = set[str]()  # columns that a file has
    originals = {} if contract.key else copies_among([path for _, path in files if path])
    rows_of = dict[int, int]()
    starts = list[int]()  # the first row of each file
    rows = 0

    def learn(valid: pa.Table) -> tuple[Dealt, HashSample, HashSample | None]:
        contents = valid[CONTENT].to_numpy()
        if not contract.key:
            return splitting.deal(valid), duplicates.sample(contents), None
        wholes = valid[WHOLE].to_numpy()
        return splitting.deal(valid), duplicates.sample(contents, wholes), copies.sample(wholes)

    with machines.reading(reader, files) as read_rows:
        for number, (name, path) in enumerate(files):
            if path is None:
                report.add_file(name, 0, 0, 0, is_new=champion.finds_new(number))
                print(f"{name}: none of its records is a row", flush=True)
                continue
            original = originals.get(number)
            if original is not None and rows_of.get(original, 0) >= MIN_COPIED_ROWS:
                report.add_copy(name, path.stat().st_size, files[original][0], is_new=champion.finds_new(number))
                print(f"{name}: the same file as {files[original][0]}, not read", flush=True)
                continue
            first, is_new, about = rows, champion.finds_new(number), About()
            starts.append(first)
            try:
                for dealt, by_content, by_all in read_rows(number, name, path, quarantine, about, learn):
                    rows += len(dealt.sets)
                    splitting.observe(number, dealt)
                    duplicates.observe(by_content)
                    if by_all:
                        copies.observe(by_all)
                most = allowed if number in champion.new_files else None
                units = partial(_other_units, name, path, contract, definition, champion)
                require_valid_rows(name, rows - first, quarantine, most, units)
            except FileError as error:
                if definition["quality"].get("stray_files") == "fail" and not isinstance(error, NoRowsError):
                    raise
                splitting.leave_out(number)
                quarantine.take_back()
                report.put_aside(number, name, error)
                print(f"{name}: put aside, {rows - first} rows had been read", flush=True)
                continue
            new += [slice(first, rows)] if number in champion.new_files else []
            present |= about.present
            rows_of[number] = used = rows - first
            broken = quarantine.file.rows
            report.add_file(name, path.stat().st_size, used, broken, about.notes, is_new=is_new)
            report.add_late(reader.dated_by, about.late)
            quarantine.keep(is_new=is_new)
            print(f"{name}: {used} rows used, {broken} quarantined", flush=True)
    report.add_quarantine(quarantine)
    sets = splitting.finish()
    report.training_window = period.as_json() if period else None
    is_of_new_file = Within(new, rows)
    in_use, trains, repeat = (
        Each(partial(test, number), sets)
        for test, number in ((np.not_equal, LEFT_OUT), (np.equal, TRAIN), (np.equal, REPEATED))
    )
    report.rows_left_out = count_true(repeat)
    report.rows_repeated, report.rows_trained_again = duplicates.count(in_use, trains)
    report.new_files["repeated"] = copies.count_known(sets, is_of_new_file)
    if contract.key:
        report.new_files["replaced"] = duplicates.count_replaced(sets, is_of_new_file, starts)
    print(f"{report.rows_repeated} rows repeat an earlier row", flush=True)
    report.identity = specification(definition)
    report.absent = [name for name in contract.names if name not in present]
    if reader.by_champion and champion.definition:
        report.champion_identity = specification(champion.definition)
        report.champion_target = reader.by_champion.target
        report.champion_untold = dict(reader.by_champion.untold.most_common(REASONS))
    if champion.statistics and (count := count_true(fresh := copies.unlike_known(sets, is_of_new_file))):
        compared = champion.compares(_in_baseline(contract), definition)
        beyond = {(rule["column"], rule["rule"]): rule["rows"] for rule in quarantine.new.rules()}
        numbers = numbers_of(definition, beyond)
        observe = partial(_observed, baseline=champion.statistics, columns=compared, numbers=numbers)
        observed = machines.each(fresh, (True,), observe)
        moving = drift.merged(observed)
        report.moved = moving.distances()
        report.drift = drift.summary(report.moved, count, moving.uncounted)
    return sets


def _in_baseline(contract: Contract) -> list[str]:
    """Return the columns whose values a baseline describes: of a number of series it has means over periods."""
    means = contract.form.series.dynamic if contract.form.series else ()
    return [name for name in contract.baseline if name not in means]


def _other_units(
    name: str,
    path: Path,
    contract: Contract,
    definition: Mapping[str, Any],
    champion: ChampionData,
    out_of_range: Collection[str],
) -> list[str]:
    """Return a line for each of some columns whose numbers are those of the baseline in another unit.

    The file is read again, with the values that break its contract: without them there may be none left.
    """
    names = [one for one in champion.compares(_in_baseline(contract), definition) if one in out_of_range]
    if not (champion.statistics and names):
        return []
    moving = drift.DropDrift(champion.statistics, names, numbers_of(definition))
    columns = [column for column in contract.columns if column.name in names]

    def values(batch: Batch) -> tuple[Batch, pa.Table]:
        read = {column.name: parsed(column, batch.table.column(column.name)).values for column in columns}
        return batch, pa.table(read)

    for _, rows in each_batch(values, path, contract.columns, name, contract.form):
        moving.observe(rows)
    return [f"{one.column}: {as_question(one.unit)}" for one in moving.distances() if one.unit]


def _observed(
    rows: Iterator[tuple[int, pa.Table]],
    baseline: Mapping[str, Any],
    columns: Sequence[str],
    numbers: Mapping[str, Numbers],
) -> drift.DropDrift:
    moving = drift.DropDrift(baseline, columns, numbers)
    for _, piece in rows:
        moving.observe(piece)
    return moving


def require_valid_rows(
    name: str,
    used: int,
    quarantine: Quarantine,
    allowed: float | None,
    other_units: Callable[[Collection[str]], list[str]] = lambda _: [],
) -> None:
    """Raise FileError when no row of a file keeps the contract, or too few for a share of broken ones that is allowed.

    NoRowsError where there is no row at all.

    More than the share is allowed as far as chance goes, because a file may be small: three standard deviations of a
    binomial count. None allows all, as long as a row is left.

    other_units  says of columns with values beyond their range whether these are in another unit
    """
    wrong = quarantine.file.rows
    rows = used + wrong
    if not rows:
        raise NoRowsError(f"{name}: the file is empty: it holds no rows; expected at least one")
    if not used:
        which = "its only row breaks" if wrong == 1 else f"each of its {wrong:,} rows breaks"
        raise FileError(f"{name}: {which} the data contract", *_problems(quarantine.file, other_units))
    if allowed is not None and wrong > allowed * rows + 3 * math.sqrt(rows * allowed * (1 - allowed)):
        raise FileError(f"{name}: {quarantine.file.headline(rows, allowed)}", *_problems(quarantine.file, other_units))


def _problems(broken: Broken, other_units: Callable[[Collection[str]], list[str]]) -> list[str]:
    out_of_range = {rule["column"] for rule in broken.rules() if rule["rule"] in ("minimum", "maximum")}
    return [*(other_units(out_of_range) if out_of_range else []), *broken.problems()]


def _late(rows: pa.Table, column: str | None, listed_at: datetime | None) -> tuple[int, str]:
    """Return how many times of a column are later than any row of the run can be, and the latest."""
    if column is None or listed_at is None or rows[column].type != ARROW_TYPES["timestamp"]:
        return 0, ""
    limit = pa.scalar(latest_sound(listed_at), ARROW_TYPES["timestamp"])
    times = rows[column].filter(pc.greater(rows[column], limit))
    return len(times), pc.max(times).as_py().isoformat() if len(times) else ""


def _notes_of_keys(key: Sequence[str], rows: pa.Table) -> Iterator[str]:
    """Yield what a person should know of how keys are written that are texts."""
    for name in key:
        values = rows[name].combine_chunks()
        if values.type == STRING and pc.any(pc.match_substring_regex(values.dictionary, WHOLE_NUMBER)).as_py():
            yield (
                f"{name}: some keys are whole numbers with a fraction (7.0), as spreadsheets and pandas write them, "
                "and other keys than those without it (7), so that known rows may count as new (split.key)"
            )


class _Telling:
    """Adds the hashes that identify rows."""

    def __init__(self, contract: Contract, definition: Mapping[str, Any]) -> None:
        self._is_keyed = bool(contract.key)
        self._identity = RowHasher(identity_columns(definition))
        others = [column.name for column in contract.telling_columns if column.name not in contract.key]
        self._rest = RowHasher(others if contract.key else [contract.target.name])

    def with_hashes(self, checked: Checked) -> Checked:
        """Return a batch with the columns IDENTITY and CONTENT, and with a key WHOLE and REST."""
        identity, rest = self._identity.hashes(checked.table), self._rest.hashes(checked.table)
        whole = combined(identity, rest)
        hashes = {IDENTITY: identity, CONTENT: identity if self._is_keyed else whole}
        hashes |= {WHOLE: whole, REST: rest} if self._is_keyed else {}
        table = checked.table
        for name, values in hashes.items():
            table = table.append_column(name, pa.array(values))
        return replace(checked, table=table)


@dataclass
class _Tally:
    """What a model in service makes of some rows: how many it cannot tell by reason, and how many targets it reads."""

    untold: Counter[str] = field(default_factory=Counter)
    targets: int = 0
    other_targets: int = 0


class _ByChampion:
    """Reads the same rows by the definition of the model in service: its features, and what identifies its rows.

    A file need not have these columns. Where it has none of a column's names, the run's own column of that name is
    taken, if both read alike: it was renamed in the files. Rows that lack what told them before, or hold what the model
    in service cannot read, have no hash: `untold` counts them by the reason. `target` counts the rows of which both
    know the target, and those where it is another.

    A column that may be null, and is absent, is null to both where it was absent then: in a file that the model in
    service was trained on, and in any file if none of its files had it.
    """

    def __init__(self, champion: ChampionData, contract: Contract, definition: Mapping[str, Any]) -> None:
        before = champion.definition or {}
        own = Contract.from_definition(before)
        telling = identity_columns(before)
        features = [column.name for column in own.features]
        wanted = [column for column in own.columns if column.name in {*telling, *features, own.target.name}]
        self._own = {column.name: as_champions(column) for column in wanted}
        self._ours = {column.name: column for column in contract.columns}
        self._features, self._telling, self._hasher = features, telling, RowHasher(telling)
        self._their_target, self._our_target = own.target.name, contract.target.name
        self._never_had, self._re_encoded = champion.absent, champion.decodes_otherwise_than(definition)
        self.target = {"rows": 0, "other": 0}
        self.untold = Counter[str]()

    def add(self, other: _ByChampion) -> None:
        """Take in what another has counted."""
        self.untold.update(other.untold)
        for name, rows in other.target.items():
            self.target[name] += rows

    @property
    def columns(self) -> tuple[Column, ...]:
        """What to read of a file beside the columns of the run's own definition."""
        return tuple(self._own.values())

    def with_hashes(self, checked: Checked, batch: Batch, *, is_new: bool) -> tuple[Checked, _Tally]:
        """Return a batch with the column CHAMPION and the features as the model in service reads them, and its counts.

        is_new  the model in service was not trained on the file
        """
        tally = _Tally()
        read = {name: self._read(name, batch, is_new=is_new) for name in self._own}
        hashes = self._hasher.hashes(pa.table({name: read[name].values for name in self._telling}))
        for name in dict.fromkeys([*self._telling, *self._features]):
            for why, unknown in self._unknown(name, read[name], batch, is_new=is_new):
                if rows := int(np.count_nonzero(unknown & (hashes != UNKNOWN))):
                    tally.untold[f"{name} {why}"] += rows
                hashes[unknown] = UNKNOWN
        self._compare_targets(checked, read[self._their_target].values, tally)
        table = checked.table.append_column(CHAMPION, pa.array(hashes))
        for name in self._features:
            table = table.append_column(self._own[name].name, read[name].values)
        return replace(checked, table=table), tally

    def count(self, tally: _Tally) -> None:
        """Take in the counts of the next batch."""
        self.untold.update(tally.untold)
        self.target["rows"] += tally.targets
        self.target["other"] += tally.other_targets

    def _read(self, name: str, batch: Batch, *, is_new: bool) -> Parsed:
        """Return a column as the model in service reads it."""
        own = self._own[name]
        return parsed(own, batch.table.column(name if self._is_renamed(name, batch, is_new=is_new) else own.name))

    def _was_absent(self, name: str, *, is_new: bool) -> bool:
        """Return whether a column that a file does not have was null to the model in service as well."""
        return self._own[name].nullable and (name in self._never_had or not (is_new or self._re_encoded))

    def _is_renamed(self, name: str, batch: Batch, *, is_new: bool) -> bool:
        own, ours = self._own[name], self._ours.get(name)
        return (
            own.name in batch.absent
            and not self._was_absent(name, is_new=is_new)
            and ours is not None
            and name not in batch.absent
            and (ours.type, ours.parsing) == (own.type, own.parsing)
        )

    def _unknown(
        self, name: str, values: Parsed, batch: Batch, *, is_new: bool
    ) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Yield why and where a column does not say what it said to the model in service `(n_rows,)`."""
        own = self._own[name]
        if own.name in batch.absent and not self._is_renamed(name, batch, is_new=is_new):
            if not self._was_absent(name, is_new=is_new):
                yield "is absent from their files", np.ones(batch.table.num_rows, bool)
            return
        if values.invalid is not None:
            yield "holds what it cannot read", _mask(values.invalid)
        if not own.nullable:
            yield "is missing", _mask(values.values.is_null())
        if self._re_encoded and own.type == "string" and name in self._telling:
            others = pc.invert(pc.string_is_ascii(values.values.dictionary))
            yield "has characters that were others in its files.encoding", _mask(others.take(values.values.indices))

    def _compare_targets(self, checked: Checked, theirs: pa.Array, tally: _Tally) -> None:
        ours = checked.table[self._our_target].combine_chunks()
        both = pc.and_(ours.is_valid(), theirs.is_valid())
        one, other = ours.filter(both), theirs.filter(both)
        tally.targets = len(one)
        if STRING in (one.type, other.type):
            tally.other_targets = pc.sum(pc.not_equal(to_text(one), to_text(other))).as_py() or 0
            return
        before, now = (pc.cast(target, pa.float64(), safe=False).to_numpy() for target in (one, other))
        tally.other_targets = int((~np.isclose(before, now, rtol=1e-6, atol=0)).sum())


def _mask(mask: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), bool)


def as_champions(column: Column) -> Column:
    """Return a column of the model in service under a name of its own, which is optional in files."""
    return replace(column, name=f"{CHAMPION}.{column.name}", own_name=column.name, optional=True)
