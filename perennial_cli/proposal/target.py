"""Which column is predicted, and what kind of problem that is."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from perennial.features.values import DataError
from perennial.model.complaints import suggestion
from perennial.words import quoted, spelling
from perennial_cli.proposal.columns import ColumnGuess
from perennial_cli.proposal.values import read_as

CLEAR = 3  # from which on a name says by itself that it is the target
# Names that people give what they want to know, with what they say: of anything, of classes alone, of numbers alone.
_OF_ANY = ((5, re.compile(r"(^|_)(target|label|outcome)(_|$)")), (3, re.compile(r"^(class|resp|response)$")))
_OF_CLASSES = (
    (
        4,
        re.compile(
            r"(^|_)(churn(ed)?|attrition|exited|default(ed)?|fraud|spam|survived|diagnosis|malignant|risk|readmitted"
            r"|subscribed|converted|clicked|cancel(l)?ed)(_|$)"
        ),
    ),
    (3, re.compile(r"(^|_)(class|species|result|response|left|approved|admitted|purchase(d)?)(_|$)")),
    (2, re.compile(r"(^|_)(status|category|grade)(_|$)")),
    (1, re.compile(r"^(type|kind)$")),
)
_OF_NUMBERS = (
    (4, re.compile(r"^(sales|demand|units_sold)$")),
    (3, re.compile(r"^(chance|probability)(_|$)")),
    (
        3,
        re.compile(
            r"(^|_)(price|cost|salary|amount|revenue|rent|charges|premium|medv|mpg"
            r"|miete|gehalt|prix|loyer|salaire|precio|salario|alquiler|prezzo|preco|stipendio)$|preis$"
        ),
    ),
    (
        2,
        re.compile(
            r"(^|_)(price|cost|salary|income|amount|revenue|score|rating|value|quality|demand|sales|strength|yield)(_|$)"
        ),
    ),
)
# Numbers that say when (seconds since 1970), where, or which: nobody predicts them who does not say so.
_OF_PLACES_AND_TIMES = re.compile(
    r"(^|_)(timestamp|datetime|epoch|unixtime|year|month|day|hour|annee|jahr|lat|latitude|lon|lng|longitude"
    r"|ids?|codes?|codigo|zip|zipcode|post(al)?code|postal|plz|cep|insee|commune|siren|siret|fips|iban|phone|key|number|no"
    r"|nr|rank|index)(_|$)"
)
_OF_FILE = 3  # says a name that the file has as well
_Y, _LONE = 4, {"x", "z"}  # beside which `y` is a place or a length


METRICS = {"regression": "rmse", "binary_classification": "auc", "multiclass_classification": "accuracy"}
MOST_CLASSES = 100
MOST_ABSENT = 0.2  # share of rows, beyond which another column is rather the target
SEVERAL = 3
CLASSES_NAMED = 3
LEAST_ROWS_OF_CLASS = 20  # of fewer than that each set has some only by luck


class TargetError(DataError):
    """No column, or not this one, can be predicted."""


class NoColumnError(TargetError):
    """There is no such column."""


@dataclass(frozen=True)
class TargetGuess:
    """The column that is predicted.

    evidence  why it is this one
    doubt     why it may be another one
    rare      which of its classes are left out; nothing where none is
    """

    column: ColumnGuess
    problem: str
    metric: str
    evidence: str
    doubt: str = ""
    rare: str = ""


@dataclass(frozen=True)
class NameGuess:
    """The likeliest target.

    evidence  why it is this one
    doubt     why it may be another one; empty where the name is clear
    """

    name: str
    evidence: str
    doubt: str = ""


def guess_name(guesses: Sequence[ColumnGuess], file: str = "") -> NameGuess:
    """Return the likeliest target. Raises TargetError: no column can be one.

    file  the name of the files, without what follows its first point: pcos.csv is about pcos
    """
    able = [guess for guess in guesses if _problem(guess) and (guess.is_feature or guess.type == "boolean")]
    if not able:
        raise TargetError("no column can be predicted: expected one of numbers, or of few different values")
    names = {guess.name for guess in guesses}
    says = {guess.name: _says(guess, names) for guess in able}
    says |= {name: max(much, _OF_FILE) for name, much in says.items() if spelling(name) == spelling(file)}
    # Of equals one that says nothing else, is not mostly absent, and tells neither when nor which; of these the last.
    best = max(
        reversed(able),
        key=lambda guess: (
            says[guess.name],
            _says_nothing_else(guess),
            not _is_sparse(guess),
            not _OF_PLACES_AND_TIMES.search(guess.name),
        ),
    ).name
    others = [name for name, much in says.items() if name != best and much >= max(1, says[best] - 1)]
    evidence = "guessed by its name" if says[best] else "guessed, as the last column that can be predicted"
    if not any(says.values()) and (alone := _of_classes_alone(able)):
        best, evidence = alone, "guessed, as the one column of classes, beside numbers"
    if others:
        return NameGuess(best, evidence, f"it may as well be {' or '.join(others)}: --target names it")
    if says[best] < CLEAR:
        little = (
            "its name says little, and no other says more" if says[best] else "no name says what is to be predicted"
        )
        return NameGuess(best, evidence, f"{little}: --target names it")
    return NameGuess(best, evidence)


def _of_classes_alone(able: Sequence[ColumnGuess]) -> str | None:
    """Return the first or last column where it alone has classes, beside several of numbers: what has been measured."""
    of_classes = [guess for guess in able if _problem(guess) != "regression"]
    is_outer = len(able) > SEVERAL and len(of_classes) == 1 and of_classes[0] in (able[0], able[-1])
    return of_classes[0].name if is_outer else None


def _is_sparse(guess: ColumnGuess) -> bool:
    """Return whether many rows have no value: those could neither train nor test."""
    return guess.missing_rows > MOST_ABSENT * guess.words.rows


def _says(guess: ColumnGuess, names: Set[str]) -> int:
    """Return how much a name says that it is the target."""
    if guess.name == "y" and not names & _LONE:
        return _Y
    return max((much for much, pattern in _patterns(guess) if pattern.search(guess.name)), default=0)


def _says_nothing_else(guess: ColumnGuess) -> bool:
    """Return whether a number's name is one that people give what they want to know: price, but not min_price."""
    return _problem(guess) == "regression" and any(pattern.fullmatch(guess.name) for _, pattern in _patterns(guess))


def _patterns(guess: ColumnGuess) -> Sequence[tuple[int, re.Pattern[str]]]:
    return (*_OF_ANY, *(_OF_NUMBERS if _problem(guess) == "regression" else _OF_CLASSES))


def as_target(name: str, guesses: Sequence[ColumnGuess], evidence: str, doubt: str = "") -> TargetGuess:
    """Return a column as what is predicted. Raises TargetError: there is no such column, or it cannot be."""
    by_name = {spelling(one): guess for guess in guesses for one in (guess.header, guess.name)}
    guess = by_name.get(spelling(name))
    if guess is None:
        names = [one.name for one in guesses]
        raise NoColumnError(f"there is no column {quoted(name)}{suggestion(name, names)}")
    problem = _problem(guess)
    if problem is None:
        raise TargetError(
            f"column {quoted(guess.header)} cannot be predicted: it has {len(guess.words):,} different texts; expected "
            f"numbers, two different values, or at most {MOST_CLASSES} texts"
        )
    column = guess
    if problem == "binary_classification" and guess.type != "boolean" and not _is_zero_or_one(guess):
        column = _two_words(guess, _texts(guess))
    elif guess.type == "string":
        column = _named_classes(guess)
    column = replace(
        column, fields={key: value for key, value in column.fields.items() if key not in ("nullable", "feature")}
    )
    return TargetGuess(column, problem, METRICS[problem], evidence, doubt)


def _is_zero_or_one(guess: ColumnGuess) -> bool:
    return guess.type == "integer" and (guess.fields.get("min"), guess.fields.get("max")) == (0, 1)


def _problem(guess: ColumnGuess) -> str | None:
    if guess.type == "boolean" or _is_zero_or_one(guess):
        return "binary_classification"
    if guess.type in ("string", "integer") and len(_texts(guess)) == 2:  # 1 and 2 are classes as well
        return "binary_classification"
    if guess.type == "string":
        return "multiclass_classification" if 2 < len(_texts(guess)) <= MOST_CLASSES else None
    return "regression" if guess.type in ("integer", "float") and len(guess.words) > 2 else None


def _texts(guess: ColumnGuess) -> list[str]:
    missing = {text.lower() for text in (guess.fields.get("parse") or {}).get("missing", [])}
    return [text for text in guess.words.texts.slice(0, MOST_CLASSES + 5).to_pylist() if text.lower() not in missing]


def _named_classes(guess: ColumnGuess) -> ColumnGuess:
    """Return a column of several texts with all of them as its categories, which are the classes."""
    texts = sorted(_texts(guess))
    return replace(guess, fields={**guess.fields, "categories": texts}, evidence=f"{len(texts)} classes")


def without_rare_classes(guess: TargetGuess) -> TargetGuess | None:
    """Return a target of the classes alone that have rows for each set, which may be two.

    None: it has no others, fewer than two are left, or these have fewer than half of the rows.
    """
    classes, words = guess.column.fields.get("categories"), guess.column.words
    if guess.problem != "multiclass_classification" or not classes:
        return None
    rows = dict(zip(words.texts.to_pylist(), words.counts.tolist(), strict=True))
    often = [name for name in classes if rows[name] >= LEAST_ROWS_OF_CLASS]
    rare = [f"{quoted(name)} ({rows[name]})" for name in classes if name not in often]
    if len(often) < 2 or not rare or 2 * sum(rows[name] for name in often) < words.known:
        return None
    why = (
        f"no classes are {', '.join(rare)}, of fewer than {LEAST_ROWS_OF_CLASS} rows, too few to train and to test; "
        "the rows are put aside. Give them a common name in the files, or collect more of them"
    )
    if len(often) == 2:
        problem = "binary_classification"
        column = _two_words(guess.column, sorted(often, key=lambda name: -rows[name]))
        return replace(guess, column=column, problem=problem, metric=METRICS[problem], rare=why)
    column = replace(guess.column, fields={**guess.column.fields, "categories": often})
    return replace(guess, column=replace(column, evidence=f"{len(often)} classes"), rare=why)


def too_rare(guess: TargetGuess) -> str:
    """Return which of the classes that are asked for have too few rows to train and to test; nothing where none has."""
    words, column = guess.column.words, guess.column
    if guess.problem == "regression":
        return ""
    rows = dict(zip(words.texts.to_pylist(), words.counts.tolist(), strict=True))
    parse = column.fields.get("parse") or {}
    spelled = {word.lower() for truth in ("true", "false") for word in parse.get(truth, ())}
    classes = column.fields.get("categories") or [
        name for name in _texts(column) if not spelled or name.lower() in spelled
    ]
    rare = [f"{quoted(name)} stands in {rows[name]:,}" for name in classes if rows[name] < LEAST_ROWS_OF_CLASS]
    if not rare:
        return ""
    more = " and others in as few" if len(rare) > CLASSES_NAMED else ""
    named = f"{', '.join(rare[:CLASSES_NAMED])}{more}"
    return (
        f"{column.name}: {named} of {words.known:,} rows; expected some {LEAST_ROWS_OF_CLASS} of each class, so that "
        "some train and some test. Collect more of them, or predict another column (--target)"
    )


def _two_words(guess: ColumnGuess, words: Sequence[str]) -> ColumnGuess:
    """Return a column of two texts, and maybe of rows with others, as a boolean: the rarer one is what one asks for."""
    often, rarely = words
    missing = (guess.fields.get("parse") or {}).get("missing")
    parse = {**({"missing": missing} if missing else {}), "true": [rarely], "false": [often]}
    share = guess.words.counts[guess.words.texts.index(rarely).as_py()] / guess.words.known
    source = {"source": guess.fields["source"]} if "source" in guess.fields else {}
    evidence = (
        f"{quoted(rarely)} is true, as the rarer one ({share:.0%} of the rows); exchange the words to ask otherwise"
    )
    return replace(
        guess,
        fields={"type": "boolean", **source, "parse": parse},
        evidence=evidence,
        reading=read_as("boolean", guess.words, parse),
    )
