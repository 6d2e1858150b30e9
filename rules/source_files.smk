"""What sources are read from: files of this machine, downloads, benchmarks; and what shows a change."""


def local_files(wildcards):
    """The files of a source on this machine; one that is missing is named before anything runs."""
    try:
        return files_of(SOURCE[wildcards.source])
    except PlmScalingError as error:
        if fits_only():
            return []
        sys.exit(f"error: {error}")


def raw_files(wildcards):
    """What a source is read from. A file whose checksum is stated is the same whatever its time, and
    a benchmark that is prepared again is no reason to make other data."""
    row = SOURCE[wildcards.source]
    if row.name in TESTS:
        return ancient(row.path)
    if not row.path:
        return f"data/raw/{row.file}"
    return ancient(local_files(wildcards)) if row.checksum else local_files(wildcards)


def record_of(name):
    """What a source on this machine was compared with. Its name has the checksum, since a record that
    exists already, and is `ancient`, would hide from Snakemake that the source must be cleaned again.
    """
    return (
        f"{DATA}/clean/{name}.{SOURCE[name].checksum.partition(':')[2][:8] or 'none'}.verified.json"
    )


def verified(wildcards):
    """The record that a file of this machine has the checksum that is stated, if one is."""
    row = SOURCE[wildcards.source]
    return ancient(record_of(row.name)) if row.path and row.checksum else []


def state(wildcards):
    """What shows that the files of a source on this machine were changed or replaced."""
    row = SOURCE[wildcards.source]
    try:
        return state_of(files_of(row))
    except PlmScalingError:
        return ""


def reading(wildcards):
    """How a source is read, and what of it on this machine."""
    row = SOURCE[wildcards.source]
    is_here = row.name in LOCAL
    return f"{row.reading} {row.checksum or state(wildcards)}" if is_here else row.reading


def row_of(wildcards, input):
    """A source as programs take it: a name in the table, or in JSON what the config declares. (With
    `input` Snakemake keeps no record of it.)"""
    name = wildcards.source
    return json.dumps({name: OWN[name]}, default=str) if name in OWN else name
