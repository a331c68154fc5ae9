"""Folders of exports into a database: checked first, then part by part through the natural keys."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.errors import ConfigError, SinkError
from collector.sinks.files.manifest import FORMATS, FileEntry, Manifest, read_manifest
from collector.sinks.files.parquet import Told, database_parts
from collector.sinks.files.verifying import mismatches
from collector.storage.database import Database
from collector.storage.outgoing.datasets import EXPORTABLE, Exportable, Form
from collector.storage.outgoing.importing import Landed, begin_import, store_part

_PART_BYTES = 16 << 20
CHECKING, STORING = "import: checking", "import: storing"
Phase = Callable[[str, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did, by dataset, and what it left out."""

    manifest: Manifest
    landed: Mapping[str, Landed]
    notes: tuple[str, ...]


def check_folder(database: Database, folder: Path, told: Told | None = None, *, simulated: bool = False) -> Manifest:
    """Return the manifest of a folder that can be imported; raises SinkError or ConfigError in one line for others."""
    manifest = read_manifest(folder)
    if manifest.simulated and not simulated:
        raise ConfigError(
            f"{folder}: holds SIMULATED data (made-up prices), and these settings are of real data: "
            "import it with --demo, or add --allow-simulated to have it in this database"
        )
    if manifest.as_of is not None:
        raise ConfigError(
            f"{folder}: shows what was known at {manifest.as_of:%Y-%m-%d %H:%M:%S} UTC; that is not imported"
        )
    revision = database.revision()
    if manifest.schema != revision:
        raise ConfigError(
            f"{folder}: was exported from tables of revision {manifest.schema}, these are of {revision}; "
            "export it again with this version of the program"
        )
    wrong = next(mismatches(folder, manifest, told), None)
    if wrong is not None:
        raise SinkError(f"{folder} is not what its manifest says, nothing was imported: {wrong}")
    return manifest


def import_folder(
    database: Database,
    folder: Path,
    told: Told | None = None,
    phase: Phase | None = None,
    *,
    simulated: bool = False,
    allow_simulated: bool = False,
) -> Imported:
    """Import a folder and return what became of its rows; killed anywhere, it is run again.

    `phase` is called when the check and when the storing begins, with its name and how many rows it is about; `told`
    with the rows of each part of it. `simulated`: the database is for made-up data; `allow_simulated`: such data may
    come into another one too, where all its rows are of the import's own cycle, which is marked. Raises SinkError and
    ConfigError before anything is stored, StorageError kinds from then on.
    """
    begin = phase or _nobody
    begin(CHECKING, read_manifest(folder).rows)
    manifest = check_folder(database, folder, told, simulated=simulated or allow_simulated)
    number, keep = begin_import(
        database, at=manifest.created_at, folder=str(folder.resolve()), simulated=manifest.simulated
    )
    marked = manifest.simulated and not simulated
    keep = keep and not marked
    landed: dict[str, Landed] = {}
    notes = []
    datasets = dict(_by_dataset(manifest))
    wanted = [name for name in datasets if not EXPORTABLE[name].imported and (keep or name != "cycles")]
    begin(STORING, sum(entry.facts.rows for name in wanted for entry in datasets[name]))
    for name, entries in datasets.items():
        dataset = EXPORTABLE[name]
        if name not in wanted:
            own = f"made-up rows are of cycle {number}" if marked else "this database has cycles of its own"
            notes.append(f"{name}: not imported, {dataset.imported or own}")
            continue
        for entry in entries:
            for part, landing in _stored(database, folder, entry, None if keep else number):
                landed[name] = landed.get(name, Landed()) + landing
                if told is not None:
                    told(part)
    return Imported(manifest=manifest, landed=landed, notes=tuple(notes))


def _nobody(_what: str, _rows: int) -> None:
    pass


def _by_dataset(manifest: Manifest) -> Iterator[tuple[str, list[FileEntry]]]:
    for name in EXPORTABLE:  # what others refer to comes first
        entries = [entry for entry in manifest.files if entry.dataset == name]
        if entries:
            yield name, entries


def _stored(database: Database, folder: Path, entry: FileEntry, cycle: int | None) -> Iterator[tuple[int, Landed]]:
    dataset, path = EXPORTABLE[entry.dataset], folder / entry.path
    parquet = path.suffix == FORMATS["parquet"]
    trimmed = _decimals(dataset, entry) if parquet else ()
    spelling = "jsonl" if path.suffix == FORMATS["jsonl"] else "csv"
    for part in database_parts(path, dataset) if parquet else text_parts(path):
        landing = store_part(database, dataset, part, spelling=spelling, cycle=cycle, trimmed=trimmed)
        yield landing.rows, landing


def _decimals(dataset: Exportable, entry: FileEntry) -> Iterable[str]:
    """Return the columns whose numbers got zeros to the scale of their type."""
    exact = (column.name for column in dataset.columns if column.form in {Form.NUMBER, Form.NUMBERS})
    return [name for name in exact if name not in entry.facts.texts]


def text_parts(path: Path, size: int = _PART_BYTES) -> Iterator[bytes]:
    """Yield a CSV file without its header, or JSON lines, in parts of whole rows.

    A row ends at a line feed outside quotes. JSON has none inside a line.
    """
    quoted = path.suffix == FORMATS["csv"]
    try:
        with path.open("rb") as file:
            if quoted:
                file.readline()
            waiting: list[bytes] = []
            held, odd = 0, False
            for line in file:
                waiting.append(line)
                held += len(line)
                odd ^= quoted and line.count(b'"') % 2 == 1
                if held >= size and not odd:
                    yield b"".join(waiting)
                    waiting, held = [], 0
            if waiting:
                yield b"".join(waiting)
    except OSError as error:
        raise SinkError(f"{path}: cannot be read ({error.strerror or error})") from error
