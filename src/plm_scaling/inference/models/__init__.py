"""Models behind one interface: runs of ours, and ESM-2 and ProGen2 from local folders."""
