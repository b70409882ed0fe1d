"""Pictures: samples, drawing sequences with their rectangles, animations and curves."""
