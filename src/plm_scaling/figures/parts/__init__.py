"""What all figures use: panels and axes, text beside what is drawn, the style and its colours."""
