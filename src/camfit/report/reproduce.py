"""How to get the same result again: commands, seed, versions, machine, data."""

from __future__ import annotations

from camfit.report import units
from camfit.report.markup import Markup, details, element, section
from camfit.report.record import Record


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(value)


def reproduce_section(record: Record) -> Markup:
    """Commands and everything that the figures depend on."""
    commands = record.reproduce or (() if record.command is None else (record.command,))
    block = element("pre", {"tabindex": "0"}, element("code", None, "\n".join(commands))) if commands else None
    model, data = record.model, record.data
    sizes = [
        f"{units.count(size)} {name}"
        for name, size in (("train", data.train), ("validation", data.val), ("test", data.test))
        if size is not None
    ]
    shape = None if model.input_shape is None else "input " + " × ".join(str(size) for size in model.input_shape)
    facts: list[tuple[str, str]] = []
    if record.command is not None and record.reproduce:
        facts.append(("Command of this run", record.command))
    facts.append(("Model", ", ".join(part for part in (model.name, shape) if part)))
    facts.append(("Data", ", ".join([data.name, *sizes])))
    if data.fingerprint is not None:
        facts.append(("Data fingerprint", data.fingerprint))
    if record.seed is not None:
        facts.append(("Seed", str(record.seed)))
    if record.seconds is not None:
        facts.append(("Duration", units.seconds(record.seconds)))
    if record.machine:
        facts.append(("Machine", ", ".join(f"{name} {_text(value)}" for name, value in record.machine.items())))
    versions = {"camfit": record.camfit, **(record.versions or {})}
    facts.append(("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    pairs = [element("div", None, element("dt", None, name), element("dd", None, value)) for name, value in facts]
    classes = (
        details(f"{len(data.classes)} classes", element("p", None, ", ".join(data.classes))) if data.classes else None
    )
    return section("reproduce", "How to reproduce", block, element("dl", None, pairs), classes)
