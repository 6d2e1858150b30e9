"""Two models of one size from one compute sum."""
