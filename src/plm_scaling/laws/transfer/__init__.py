"""What starting from the other objective is worth."""
