"""What all pages share: templates, inline figures, and the glossary's definitions on hover."""
