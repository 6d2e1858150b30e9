"""What a cell leaves: record, curve, progress, throughput."""
