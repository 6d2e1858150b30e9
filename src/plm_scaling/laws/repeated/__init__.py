"""What repeated tokens are worth."""
