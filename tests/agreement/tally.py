"""What a long run has seen so far, kept in a file after every range of seeds."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import msgspec

import camfit
import integer_graph
import networks
from agreement.cases import VARIANTS, Structure
from agreement.check import check
from camfit import _native


@cache
def subject() -> str:
    """Digest of the engine and of what makes and checks the cases: what another one has seen says nothing of these."""
    digest = hashlib.sha256()
    files = [Path(str(module.__file__)) for module in (_native, networks, integer_graph)]
    for folder in (Path(__file__).parent, Path(str(camfit.__file__)).parent / "pack"):
        files += sorted(folder.glob("*.py"))
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Tally(msgspec.Struct):
    """Attributes:
    subject: see :func:`subject`.
    seeds: half-open ranges that are done, in order.
    cases: compared.
    undecided: seeds of cases with a sign on the edge (see :mod:`agreement.check`).
    failed: what did not agree, by seed.
    worst: of the float comparisons, relative to the largest output, by kind.
    compared: how often what was compared.
    """

    subject: str
    seeds: list[tuple[int, int]] = msgspec.field(default_factory=list)
    cases: int = 0
    undecided: list[int] = msgspec.field(default_factory=list)
    failed: dict[int, list[str]] = msgspec.field(default_factory=dict)
    worst: dict[str, float] = msgspec.field(default_factory=dict)
    compared: dict[str, int] = msgspec.field(default_factory=dict)

    def extend(self, begin: int, end: int) -> None:
        """Checks the seeds of a range; an exception is a failure of its seed."""
        structure: Structure | None = None
        for seed in range(begin, end):
            try:
                if structure is None or structure.number != seed // VARIANTS:
                    structure = Structure(seed // VARIANTS)
                case = structure.case(seed)
                outcome = check(case)
            except Exception as error:  # whatever was raised, the seed is what is wanted
                self.failed[seed] = [f"{type(error).__name__}: {error}"]
                continue
            self.cases += 1
            if outcome.problems:
                self.failed[seed] = outcome.problems
            if outcome.undecided:
                self.undecided.append(seed)
            self.worst[case.kind] = max(self.worst.get(case.kind, 0.0), outcome.worst)
            for label, count in outcome.compared.items():
                self.compared[label] = self.compared.get(label, 0) + count
        self.seeds.append((begin, end))

    def save(self, path: Path) -> None:
        """Writes the file; a kill leaves the old one or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self))
        new.replace(path)

    @classmethod
    def load(cls, path: Path) -> Tally:
        """The file's tally; an empty one where there is no file, or where its subject was another."""
        try:
            tally = msgspec.json.decode(path.read_bytes(), type=cls)
        except (FileNotFoundError, msgspec.ValidationError):
            return cls(subject())
        return tally if tally.subject == subject() else cls(subject())
