"""What is given for FASTA by mistake."""

import re

_MEMBER = "name its member in a source table (source code: format text_archive)"
# How it begins, its name, and what helps. The first pattern that fits names it.
OTHERS = (
    (rb"@\S[^\n]*\n[A-Za-z.]+\s*\n\+", "FASTQ", "sequencing reads; give a protein FASTA"),
    (rb">(?:[PF]1|D[LC]|R[LC]|N[13]|XX);", "PIR", "write it as FASTA (EMBOSS seqret)"),
    (rb"LOCUS\s", "GenBank", "write its proteins as FASTA, with Biopython's SeqIO for instance"),
    (rb"ID   \S", "EMBL or Swiss-Prot text", "fetch the FASTA of the same release"),
    (rb"# STOCKHOLM", "Stockholm alignment", "write it as FASTA without gaps (esl-reformat fasta)"),
    (rb"CLUSTAL|MUSCLE \(", "Clustal alignment", "write it as FASTA without gaps"),
    (rb"HMMER\d|NAME  \S", "HMMER profile", "give the sequences, not the model"),
    (rb"##gff", "GFF", "give the proteins' FASTA"),
    (rb"(?i)<!doctype html|<html", "web page", "fetch the file again: this is an error page"),
    (rb"PK\x03\x04", "zip archive", _MEMBER),
    (rb"[^\0]{1,100}\0(?s:.{156,256})ustar", "tar archive", _MEMBER),
    (rb"<", "XML", "give a FASTA file"),
)  # fmt: skip


def mistaken(start: bytes) -> str | None:
    """What a text that begins so is, and what helps; None if it is none of these."""
    return next((f"{name}: {what}" for begin, name, what in OTHERS if re.match(begin, start)), None)
