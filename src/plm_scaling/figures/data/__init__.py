"""Figures of the sequences: what is kept, scored and masked."""
