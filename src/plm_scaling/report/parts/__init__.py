"""The parts of a page, as text and rows of tables: a module per part."""
